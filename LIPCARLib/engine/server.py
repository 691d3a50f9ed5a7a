"""The answering side: listens, asks who is there, has one request done at a time, and outlives whatever is sent."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from ..errors import LIPCARError, lacks_memory
from ..inverse import complete
from .client import EngineError
from .handshake import welcome
from .jobs import Run
from .messages import LARGEST_ARRAYS, LARGEST_HEADER, Channel, Message

MOST_CONNECTIONS = 8
"""At a time: one computes, the others wait for their turn, or are just coming in."""
PATIENCE = 10.0
"""Seconds that a new connection may take for each word before it is known to be welcome; an image may take longer."""
GREETING = 4096
"""Bytes that a message may have until then."""
ALIVE = 2.0
"""Seconds after which who waits is told that it still does."""
SLOT = 0.1
STOPPED = "The engine was stopped where it runs. Nothing was changed; start `lipcar serve` there again."


class Server:
    """Attributes:
    address: host and port that it listens on.
    """

    def __init__(
        self,
        run: Run,
        token: bytes | None,
        log: Callable[[str], None],
        host: str = "127.0.0.1",
        port: int = 0,
        patience: float = PATIENCE,
        largest_arrays: int = LARGEST_ARRAYS,
    ) -> None:
        """
        Args:
            run: does what is asked for.
            token: what who asks must know; None for everyone.
            log: is given a line a request, without what is told of a patient.
            port: 0 for any that is free.

        Raises:
            LIPCARError: the address cannot be listened on.
        """
        self._run, self._token, self._log = run, token, log
        self._patience, self._largest = patience, largest_arrays
        self._turn = threading.Lock()
        self._places = threading.Semaphore(MOST_CONNECTIONS)
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self._socket = socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
        except (OSError, ValueError) as error:  # a name with parts that are empty or long is the latter
            reason = error.strerror if isinstance(error, OSError) else "it is no name of a computer"
            raise LIPCARError(
                f"{host}:{port} cannot be listened on: {reason or error}. Choose another address or port."
            ) from error
        self._socket.settimeout(1.0)  # on Windows, Ctrl-C does not end a wait
        self.address: tuple[str, int] = self._socket.getsockname()[:2]

    def serve(self) -> None:
        """Until `close`."""
        while True:
            try:
                connection, where = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                if self._socket.fileno() < 0:
                    return
                time.sleep(SLOT)  # out of file descriptors, or who called is gone already
                continue
            if self._places.acquire(blocking=False):
                threading.Thread(target=self._attend, args=(connection, f"{where[0]}:{where[1]}"), daemon=True).start()
            else:
                self._log(f"{where[0]}:{where[1]} refused: too many connections")
                connection.close()

    def close(self) -> None:
        self._socket.close()

    def _attend(self, connection: socket.socket, where: str) -> None:
        began, what = time.monotonic(), "connection"
        channel = Channel(connection, SLOT, self._patience, GREETING, 0)
        try:
            complete(welcome(channel, self._token))
            channel.largest_header, channel.largest_arrays = LARGEST_HEADER, self._largest
            request = complete(channel.receive())
            what = _in_words(request)
            outcome = self._done(channel, request)
        except LIPCARError as error:
            outcome = f"refused ({type(error).__name__})"
            stopped = self._socket.fileno() < 0  # and what computes was ended
            _tell(channel, Message("refused", {"text": STOPPED if stopped else str(error)}))
        except OSError:
            outcome = "the connection was lost"
        except EngineError as error:
            outcome = "failed"
            _tell(channel, Message("failed", {"text": str(error)}))
        except Exception as error:
            outcome = f"failed ({type(error).__name__})"
            kind = "refused" if lacks_memory(error) else "failed"
            text = "There is not enough memory for this. Close other programs, or compute fewer slices."
            _tell(channel, Message(kind, {"text": text if kind == "refused" else traceback.format_exc()}))
        finally:
            channel.close()
            self._places.release()
        self._log(f"{where} {what}: {outcome}, {time.monotonic() - began:.1f} s")

    def _done(self, channel: Channel, request: Message) -> str:
        """Wait for the turn, compute, tell; returns the outcome in words."""
        while not self._turn.acquire(timeout=ALIVE):
            if channel.is_left():
                return "left while it waited"
            complete(channel.send(Message("waiting")))
        try:
            steps = self._run(request)
            spoke = time.monotonic()
            while True:
                if channel.is_left():
                    steps.close()
                    return "canceled"
                try:
                    message = next(steps)
                except StopIteration as stop:
                    found: Message = stop.value
                    break
                except OSError as error:  # of the engine, not of the connection
                    raise RuntimeError(f"the system reports: {error}") from error
                if message is None and time.monotonic() - spoke > ALIVE:
                    message = Message("waiting")
                if message is not None:
                    complete(channel.send(message))
                    spoke = time.monotonic()
        finally:
            self._turn.release()
        complete(channel.send(found))
        return "done"


def _in_words(request: Message) -> str:
    shape = max((array.shape for array in request.arrays.values()), key=len, default=())
    return f"{request.kind:.20} {' x '.join(map(str, shape))}".strip().encode("ascii", "replace").decode()


def _tell(channel: Channel, message: Message) -> None:
    """Last words; nobody may be there any more."""
    with suppress(OSError, LIPCARError):
        complete(channel.send(message))
