"""The beginning of a connection: versions, and a proof from either side that it knows the token, which is never sent.

Each side proves by a keyed hash (HMAC, RFC 2104) of what both have drawn for this connection alone. What follows is not
encrypted.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Generator
from typing import Any

from .. import __version__
from ..errors import LIPCARError
from ..json_file import FLAG, TEXT, Field, complaints
from .messages import Channel, MalformedError, Message

_HEX = Field("64 hexadecimal digits", lambda value: isinstance(value, str) and len(value) == 64 and value.isalnum())
_HELLO = {"lipcar": TEXT, "drawn": _HEX, "token": FLAG}
_PROOF = {"lipcar": TEXT, "drawn": _HEX, "proof": _HEX}
_WELCOME = {"proof": _HEX}
_ADVICE = "Set LIPCAR_ENGINE_TOKEN to what `lipcar serve` was started with."


class RefusedError(LIPCARError):
    """The other side does not talk to this one."""


def welcome(channel: Channel, token: bytes | None) -> Generator[None, None, None]:
    """The answering side. Without a token, everyone is welcome.

    Raises:
        RefusedError: another version of LIPCAR, or another token; the other side was told.
        MalformedError, LIPCARError, OSError: as :class:`Channel`.
    """
    own = secrets.token_hex(32)
    hello = {"lipcar": __version__, "drawn": own, "token": token is not None}
    yield from channel.send(Message("hello", hello))
    said = yield from _received(channel, "hello", _PROOF)
    problem = _other_version(said["lipcar"])
    if not problem and token is not None and not _is_proved(token, "asks", own, said["drawn"], said["proof"]):
        problem = f"The token is another one than the engine's. {_ADVICE}"
    if problem:
        yield from channel.send(Message("refused", {"text": problem}))
        raise RefusedError(problem)
    yield from channel.send(Message("welcome", {"proof": _proof(token or b"", "answers", own, said["drawn"])}))


def introduce(channel: Channel, token: bytes | None) -> Generator[None, None, None]:
    """The asking side.

    Raises:
        RefusedError: another version of LIPCAR; another token, or none where one is needed; what answers knows none.
        MalformedError, LIPCARError, OSError: as :class:`Channel`.
    """
    said = yield from _received(channel, "hello", _HELLO)
    if problem := _other_version(said["lipcar"]):
        raise RefusedError(problem)
    if said["token"] and token is None:
        raise RefusedError(f"The engine asks for a token. {_ADVICE}")
    own, key = secrets.token_hex(32), token or b""
    proof = _proof(key, "asks", said["drawn"], own)
    yield from channel.send(Message("hello", {"lipcar": __version__, "drawn": own, "proof": proof}))
    answer = yield from _received(channel, "welcome", _WELCOME)
    if token is not None and not _is_proved(token, "answers", said["drawn"], own, answer["proof"]):
        raise RefusedError("What answers at the engine's address does not know the token. No image was sent to it.")


def _received(channel: Channel, kind: str, table: dict[str, Field]) -> Generator[None, None, dict[str, Any]]:
    message = yield from channel.receive()
    if message.kind == "refused" and isinstance(message.values.get("text"), str):
        raise RefusedError(message.values["text"])
    if message.kind != kind:
        raise MalformedError(f"The other side says '{message.kind:.40}' where '{kind}' is expected.")
    for complaint in complaints(message.values, table):
        raise MalformedError(f"What the other side says is {complaint}.")
    return message.values


def _other_version(version: str) -> str:
    if version == __version__:
        return ""
    return f"One side has LIPCAR {version:.20}, the other {__version__}. Use the same version on both."


def _proof(token: bytes, role: str, answering: str, asking: str) -> str:
    return hmac.new(token, f"LIPCAR {role} {answering} {asking}".encode(), hashlib.sha256).hexdigest()


def _is_proved(token: bytes, role: str, answering: str, asking: str, proof: str) -> bool:
    return hmac.compare_digest(_proof(token, role, answering, asking).encode(), proof.encode())
