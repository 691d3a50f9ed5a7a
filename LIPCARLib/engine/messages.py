"""What goes over a connection: messages of a JSON header and raw arrays, each of them bounded, and no pickle.

A message is a prefix (magic, version of the protocol, length of the header), the header in JSON with kind, values and
a list of arrays, and the arrays' numbers, little-endian, in that order. Sending and receiving are generators that
yield None while the other side is not ready, so that a window may live meanwhile.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import LIPCARError, lacks_memory
from ..json_file import OBJECT, TEXT, Field, complaints, parse_json

PROTOCOL = 1
"""Raised with every change that an older side would not understand."""
PREFIX = struct.Struct("<4sHI")
MAGIC = b"LPCR"
LARGEST_HEADER = 2**20
"""Bytes of a request's, which holds a few numbers and names."""
LARGEST_ANSWER = 2**28
"""Bytes of an answer's header: 10,000 steps of the solver in 1000 slices."""
LARGEST_ARRAYS = 4 * 2**30
"""Bytes of all arrays of a message: a pre-dose and a low-dose image of 800 x 800 x 800."""
SLOWEST = 20_000
"""Bytes a second: who sends more slowly than that is given up."""
CHUNK = 2**20
"""Bytes that are handed to the system at once."""
DTYPES = ("<f4", "<f8", "<i2", "<i4", "<i8", "<u2", "|u1", "|b1")
MOST_ARRAYS = 64

_SHAPE = Field(
    "a list of at most 4 integers from 0 to 100000",
    lambda value: (
        isinstance(value, list) and len(value) <= 4 and all(type(one) is int and 0 <= one <= 100_000 for one in value)
    ),
)
_DTYPE = Field(f"one of {', '.join(DTYPES)}", lambda value: isinstance(value, str) and value in DTYPES)
_LIST = Field(
    f"a list of at most {MOST_ARRAYS} arrays", lambda value: isinstance(value, list) and len(value) <= MOST_ARRAYS
)
_HEADER = {"kind": TEXT, "values": OBJECT, "arrays": _LIST}
_ARRAY = {"name": TEXT, "dtype": _DTYPE, "shape": _SHAPE}


class MalformedError(LIPCARError):
    """What was received is no message, a larger one than is taken, or one of another protocol."""


@dataclass(frozen=True)
class Message:
    """One message: its kind, values that JSON can hold, and named arrays."""

    kind: str
    values: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


class Channel:
    """Messages over a connected socket.

    Attributes:
        largest_header, largest_arrays: bytes that a received message may have; what claims more is refused unread.
        patience: seconds that the other side may stay silent, and SLOWEST on top; None for ever.
        slot: seconds that sending and receiving wait between two yields.
    """

    def __init__(
        self,
        connection: socket.socket,
        slot: float,
        patience: float | None = None,
        largest_header: int = LARGEST_HEADER,
        largest_arrays: int = LARGEST_ARRAYS,
    ) -> None:
        self.patience, self.slot = patience, slot
        self.largest_header, self.largest_arrays = largest_header, largest_arrays
        self._connection = connection
        connection.settimeout(slot)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message: Message) -> Generator[None, None, None]:
        """Raises OSError where the connection is lost, LIPCARError where the other side will not take the message."""
        arrays = {name: _portable(array) for name, array in message.arrays.items()}
        table = [{"name": name, "dtype": one.dtype.str, "shape": list(one.shape)} for name, one in arrays.items()]
        if (size := sum(one.nbytes for one in arrays.values())) > LARGEST_ARRAYS:
            raise LIPCARError(f"The images have {size} bytes; at most {LARGEST_ARRAYS} are taken. Choose fewer slices.")
        content = {"kind": message.kind, "values": message.values, "arrays": table}
        header = json.dumps(content, allow_nan=False).encode()
        yield from self._write(memoryview(PREFIX.pack(MAGIC, PROTOCOL, len(header)) + header))
        for array in arrays.values():
            if array.size:
                yield from self._write(array.reshape(-1).view(np.uint8).data)

    def receive(self) -> Generator[None, None, Message]:
        """The next message.

        Raises:
            OSError: the connection is lost.
            MalformedError: what came is none, or is larger than is taken; the connection is of no more use.
            LIPCARError: nothing came in time.
        """
        prefix = bytearray(PREFIX.size)
        yield from self._read(memoryview(prefix))
        magic, version, length = PREFIX.unpack(prefix)
        if magic != MAGIC:
            raise MalformedError(
                "What was sent is no message of LIPCAR. Check the address: does `lipcar serve` run there?"
            )
        if version != PROTOCOL:
            raise MalformedError(
                f"The other side speaks version {version} of the protocol, this one version {PROTOCOL}. Use the same "
                "version of LIPCAR on both sides."
            )
        if length > self.largest_header:
            raise MalformedError(f"A message's header has {length} bytes; at most {self.largest_header} are taken.")
        header = bytearray(length)
        yield from self._read(memoryview(header))
        content = _checked_header(bytes(header))
        sizes = [math.prod(one["shape"]) * np.dtype(one["dtype"]).itemsize for one in content["arrays"]]
        if sum(sizes) > self.largest_arrays:
            raise MalformedError(
                f"A message's arrays have {sum(sizes)} bytes; at most {self.largest_arrays} are taken. Give smaller "
                "images, or fewer slices."
            )
        arrays = {}
        for one in content["arrays"]:
            arrays[one["name"]] = yield from self._read_array(one["dtype"], one["shape"])
        return Message(content["kind"], content["values"], arrays)

    def is_left(self) -> bool:
        """Whether the other side has closed the connection, or sends what nobody asked for."""
        self._connection.settimeout(0)
        try:
            self._connection.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, TimeoutError):
            return False
        except OSError:
            pass
        finally:
            self._connection.settimeout(self.slot)
        return True

    def close(self) -> None:
        self._connection.close()

    def _read_array(self, dtype: str, shape: list[int]) -> Generator[None, None, np.ndarray[Any, Any]]:
        flag = dtype == "|b1"  # any byte may come, and only 0 and 1 are truth values
        try:
            array = np.empty(shape, np.uint8 if flag else dtype)  # memory is taken as the numbers come
        except (MemoryError, ValueError) as error:
            raise MalformedError(f"There is not enough memory for an array of {shape}.") from error
        if array.size:
            yield from self._read(array.reshape(-1).view(np.uint8).data)
        return array != 0 if flag else array.astype(np.dtype(dtype).newbyteorder("="), copy=False)

    def _read(self, into: memoryview) -> Generator[None, None, None]:
        done, deadline = 0, self._deadline(len(into))
        while done < len(into):
            try:
                count = self._connection.recv_into(into[done : done + CHUNK])
            except (TimeoutError, BlockingIOError):
                self._check(deadline)
                yield
                continue
            if count == 0:
                raise ConnectionResetError("the connection was closed")
            done += count
            if self.patience is not None and done < len(into):
                self._check(deadline)
            if done % (8 * CHUNK) < count:
                yield

    def _write(self, data: memoryview) -> Generator[None, None, None]:
        done, deadline = 0, self._deadline(len(data))
        while done < len(data):
            try:
                count = self._connection.send(data[done : done + CHUNK])
            except (TimeoutError, BlockingIOError):
                self._check(deadline)
                yield
                continue
            done += count
            if done % (8 * CHUNK) < count:
                yield

    def _deadline(self, count: int) -> float:
        return math.inf if self.patience is None else time.monotonic() + self.patience + count / SLOWEST

    def _check(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise LIPCARError("The other side does not answer in time. Check the network, and try again.")


def _portable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Contiguous and little-endian; a view where it is so already."""
    little = array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype
    portable = np.ascontiguousarray(array, little)
    if portable.dtype.str not in DTYPES:
        raise TypeError(f"arrays of {array.dtype} are not sent")
    return portable


def _checked_header(data: bytes) -> dict[str, Any]:
    try:
        content = parse_json(data)
        found = next(complaints(content, _HEADER), None)
        for one in content["arrays"] if found is None else ():
            found = found or next(complaints(one, _ARRAY), None)
        names = [one["name"] for one in content["arrays"]] if found is None else []
        if len(set(names)) < len(names):
            found = "malformed: two arrays have the same name"
    except ValueError as error:
        raise MalformedError(f"A message's header cannot be read: {error}.") from error
    except Exception as error:
        if not lacks_memory(error):
            raise
        raise MalformedError("A message's header does not fit the memory.") from error
    if found is not None:
        raise MalformedError(f"A message's header is {found}.")
    checked: dict[str, Any] = content
    return checked
