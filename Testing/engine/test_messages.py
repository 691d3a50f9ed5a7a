"""Messages over a socket: what is sent is what arrives, and what is no message is refused before memory is taken."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from LIPCARLib.engine import messages
from LIPCARLib.engine.messages import MAGIC, PREFIX, PROTOCOL, Channel, MalformedError, Message
from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import complete

SLOT = 0.005


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Channel]]:
    """A raw end, for what nobody should send, and a channel at the other."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        raw = socket.create_connection(server.getsockname())
        other, _address = server.accept()
    yield raw, Channel(other, SLOT, patience=0.1, largest_header=5000, largest_arrays=20 * 2**20)
    raw.close()
    other.close()


def bytes_of(header: Any, version: int = PROTOCOL, claimed: int | None = None) -> bytes:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return PREFIX.pack(MAGIC, version, len(data) if claimed is None else claimed) + data


def test_what_is_sent_arrives(ends: tuple[socket.socket, Channel]) -> None:
    raw, channel = ends
    big = np.random.default_rng(0).standard_normal((3, 700, 600)).astype(np.float32)
    arrays = {
        "big": big,
        "turned": big[:, ::-2, ::3].transpose(2, 0, 1),
        "swapped": np.arange(5, dtype=">i4"),
        "flags": np.array([[True, False]]),
        "double": np.array(np.pi),
        "none": np.zeros((0, 3), np.uint16),
    }
    sending = Channel(raw, SLOT).send(Message("test", {"text": "ü", "number": 0.1}, arrays))
    receiving, found = channel.receive(), None
    assert next(receiving) is None  # nothing is there yet
    while found is None:  # one thread: either side waits for the other, as a window would
        next(sending, None)
        try:
            next(receiving)
        except StopIteration as stop:
            found = stop.value
    assert (found.kind, found.values) == ("test", {"text": "ü", "number": 0.1})
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found.arrays[name], array)


def array(**changes: Any) -> dict[str, Any]:
    return {"kind": "x", "values": {}, "arrays": [{"name": "a", "dtype": "<f4", "shape": [1], **changes}]}


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no message of LIPCAR"),
        (bytes_of({}, version=9), "version 9 of the protocol"),
        (bytes_of({}, claimed=2**32 - 1), "header has 4294967295 bytes"),
        (bytes_of(b"\xff" * 10), "UTF-8"),
        (bytes_of(b"[" * 4000), "nested|JSON"),
        (bytes_of({"kind": "x"}), "'values' is missing"),
        (bytes_of({"kind": 7, "values": {}, "arrays": []}), "'kind' is 7"),
        (bytes_of(array(shape=[100_000, 100_000, 100])), "4000000000000 bytes"),
        (bytes_of(array(shape=[-1])), "'shape'"),
        (bytes_of(array(dtype="|O")), "'dtype' is '|O'"),
        (bytes_of(array(dtype=["<f4"])), "'dtype'"),
        (bytes_of({**array(), "arrays": 2 * array()["arrays"]}), "the same name"),
        (bytes_of({**array(), "arrays": 99 * array()["arrays"]}), "at most 64 arrays"),
        (bytes_of({"kind": "x", "values": {}, "arrays": [[]]}), "no object"),
    ],
)
def test_what_is_no_message_is_refused(ends: tuple[socket.socket, Channel], sent: bytes, message: str) -> None:
    raw, channel = ends
    raw.sendall(sent)
    with pytest.raises(MalformedError, match=message):
        complete(channel.receive())


def test_any_byte_is_a_flag(ends: tuple[socket.socket, Channel]) -> None:
    raw, channel = ends
    raw.sendall(bytes_of(array(dtype="|b1", shape=[3])) + b"\x00\x02\xff")
    found = complete(channel.receive()).arrays["a"]
    assert found.view(np.uint8).tolist() == [0, 1, 1]


@pytest.mark.parametrize("sent", [b"", MAGIC, bytes_of(array())])
def test_half_a_message(ends: tuple[socket.socket, Channel], sent: bytes) -> None:
    raw, channel = ends
    raw.sendall(sent)
    with pytest.raises(LIPCARError, match="does not answer in time"):
        complete(channel.receive())
    raw.close()
    with pytest.raises(OSError, match="closed"):
        complete(channel.receive())
    assert channel.is_left()


def test_a_message_that_is_too_slow(ends: tuple[socket.socket, Channel]) -> None:
    raw, channel = ends
    receiving, data = channel.receive(), bytes_of(array(shape=[1]))

    def drip() -> None:
        for one in data:
            raw.sendall(bytes([one]))
            for _turn in range(3):
                next(receiving)

    with pytest.raises(LIPCARError, match="in time"):
        drip()


def test_more_than_the_other_side_takes_is_not_sent(
    ends: tuple[socket.socket, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "LARGEST_ARRAYS", 11)
    with pytest.raises(LIPCARError, match="have 12 bytes; at most 11"):
        complete(Channel(ends[0], SLOT).send(Message("x", {}, {"a": np.zeros(3, np.float32)})))
