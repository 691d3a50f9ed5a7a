"""`lipcar serve`: compute for programs on other computers."""

from __future__ import annotations

import ipaddress
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from ..engine import PORT, Child, Server, read_token
from ..errors import LIPCARError
from ..inverse import complete
from .console import out, print_line, print_notice


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Another one than this computer's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = PORT,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File that holds the secret token; or set LIPCAR_ENGINE_TOKEN, here and at the client."),
    ] = None,
) -> None:
    """Compute for other computers, until Ctrl-C: lipcar enhance --engine HOST:PORT, and "Compute on" in Slicer.

    Images travel UNENCRYPTED. Leave the host at 127.0.0.1 and reach it by an SSH tunnel:
    ssh -N -L 8765:127.0.0.1:8765 gpu-computer. Whoever may connect may compute, one request at a time; nothing is kept.
    """
    token = read_token(token_file)
    if not _is_loopback(host):
        if token is None:
            raise LIPCARError(
                f"'{host}' can be reached from other computers, which needs a token. Set LIPCAR_ENGINE_TOKEN or give "
                "--token-file, or listen on 127.0.0.1 and use an SSH tunnel."
            )
        print_notice("images travel unencrypted; over a network that others can read, use an SSH tunnel.")
    engine = Child(any_folder=False)
    try:
        server = Server(engine.run, token, _log, host, port)
        words = ", ".join(words for _name, words in complete(engine.devices()))
        out.print(f"Listening on {server.address[0]}:{server.address[1]}, computing on {words}. Stop with Ctrl-C.")
        try:
            server.serve()
        finally:
            server.close()
    finally:
        engine.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _log(line: str) -> None:
    print_line(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", sys.stdout)
