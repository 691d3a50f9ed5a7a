"""The asking side of a connection: one request, its progress, its answer. Leaving the connection cancels it."""

from __future__ import annotations

import socket
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait

from ..errors import LIPCARError
from .handshake import introduce
from .messages import LARGEST_ANSWER, Channel, MalformedError, Message

SECONDS_TO_CONNECT = 10.0


class EngineError(RuntimeError):
    """A bug in the engine; the message holds its traceback."""


def converse(
    address: tuple[str, int], token: bytes | None, request: Message, slot: float, patience: float | None
) -> Generator[Message | None, None, Message]:
    """Have a request done by who listens at an address; yields progress, or None while there is none.

    Args:
        patience: seconds without any word after which the other side is given up; None for never.

    Raises:
        OSError: there is no connection, or it was lost.
        LIPCARError: what the other side says, or another one than LIPCAR answers.
        EngineError: a bug there.
    """
    channel = Channel((yield from _connected(address, slot)), slot, patience, LARGEST_ANSWER)
    try:
        yield from introduce(channel, token)
        yield from channel.send(request)
        while True:
            message = yield from channel.receive()
            if message.kind == "answer":
                return message
            if message.kind == "progress":
                yield message
            elif message.kind == "refused":
                raise LIPCARError(str(message.values.get("text")))
            elif message.kind == "failed":
                raise EngineError(str(message.values.get("text")))
            elif message.kind != "waiting":
                raise MalformedError(f"The engine says '{message.kind:.40}', which nobody knows.")
    finally:
        channel.close()


def _connected(address: tuple[str, int], slot: float) -> Generator[None, None, socket.socket]:
    """In a thread: looking a name up may take its time."""
    pool = ThreadPoolExecutor(1, "LIPCAR connects")
    job = pool.submit(socket.create_connection, address, SECONDS_TO_CONNECT)
    pool.shutdown(wait=False)
    try:
        while not wait([job], slot).done:
            yield
    except GeneratorExit:
        job.add_done_callback(_close)
        raise
    return job.result()


def _close(job: Future[socket.socket]) -> None:
    if not job.cancelled() and job.exception() is None:
        job.result().close()
