"""The engine on another computer, where `lipcar serve` runs; its address and the token."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from pathlib import Path

from ..errors import LIPCARError
from ..json_file import read_file
from .client import converse
from .jobs import Asking
from .messages import Message

PORT = 8765
PATIENCE = 30.0
"""Seconds without a word; a server says every two that it is alive."""
TOKEN, TOKEN_FILE = "LIPCAR_ENGINE_TOKEN", "LIPCAR_ENGINE_TOKEN_FILE"
SHORTEST_TOKEN = 16


class Remote(Asking):
    """What listens at an address."""

    def __init__(self, address: str, token: bytes | None, slot: float = 0.03) -> None:
        """Raises LIPCARError where the address is none."""
        self._address, self._token, self._slot = address_of(address), token, slot

    def start(self) -> None:
        """It runs already, or does not."""

    def close(self) -> None:
        """Every request has a connection of its own."""

    def run(self, request: Message) -> Generator[Message | None, None, Message]:
        try:
            return (yield from converse(self._address, self._token, request, self._slot, PATIENCE))
        except OSError as error:
            host, port = self._address
            raise LIPCARError(
                f"The engine at {host}:{port} does not answer: {error.strerror or error}. Check that `lipcar serve` "
                "runs there and that it can be reached (address, firewall, SSH tunnel), or compute on this computer."
            ) from error


def address_of(text: str) -> tuple[str, int]:
    """Host and port of "host:port"; the port may be missing.

    Raises:
        LIPCARError: it is no address.

    >>> address_of("gpu.example.org:9000"), address_of("localhost"), address_of("[::1]:9000")
    (('gpu.example.org', 9000), ('localhost', 8765), ('::1', 9000))
    """
    host, separator, port = text.strip().rpartition(":")
    if not separator or port.endswith("]"):
        host, port = text.strip(), str(PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not _is_host(host) or not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        raise LIPCARError(f"'{text:.60}' is no address of an engine; host:port is expected, as in localhost:{PORT}.")
    return host, int(port)


def _is_host(text: str) -> bool:
    try:
        text.encode("idna")  # as the system's look-up does: no part may be empty or long
    except UnicodeError:
        return False
    return bool(text) and text.isascii() and not any(one.isspace() or one in "/\\@\0" for one in text)


def read_token(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> bytes | None:
    """The token, from a file or the environment; None where neither is told.

    Args:
        file: None for what LIPCAR_ENGINE_TOKEN_FILE names. What surrounds the token there is left out.
        environment: where LIPCAR_ENGINE_TOKEN holds the token itself, if no file is told.

    Raises:
        LIPCARError: a file that cannot be read, or a token that is easily guessed.

    >>> read_token(environment={"LIPCAR_ENGINE_TOKEN": "correct horse battery staple"})
    b'correct horse battery staple'
    """
    path = file or (Path(environment[TOKEN_FILE]) if environment.get(TOKEN_FILE) else None)
    if path is None and not environment.get(TOKEN):
        return None
    try:
        token = os.fsencode(environment[TOKEN]) if path is None else read_file(path, 10_000)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LIPCARError(f"The token's file '{path}' cannot be read: {reason}. Name another one.") from error
    token = token.strip()
    if len(token) < SHORTEST_TOKEN:
        raise LIPCARError(f"The token has {len(token)} characters; at least {SHORTEST_TOKEN} are expected.")
    return token
