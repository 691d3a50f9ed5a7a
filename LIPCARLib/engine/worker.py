"""What a child process runs: it listens on the loopback, loads torch, computes, and ends with its parent."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from functools import partial

from .jobs import answer, devices
from .server import Server

PATIENCE = 120.0
"""Seconds that the parent may stay silent in the midst of its request: its window may be busy."""


def main() -> None:
    """Reads a line of JSON with the token from stdin, and prints one with the port."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe
    told = json.loads(sys.stdin.readline())
    server = Server(
        partial(answer, any_folder=bool(told["any_folder"])), bytes.fromhex(told["token"]), _silent, patience=PATIENCE
    )
    print(json.dumps({"port": server.address[1]}), flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what packages print is nobody's answer
    threading.Thread(target=server.serve, daemon=True).start()
    threading.Thread(target=_load, daemon=True).start()
    sys.stdin.read()
    os._exit(0)  # the parent is gone: nobody waits for what is under way


def _load() -> None:
    """Before anybody asks."""
    try:
        for _ in devices():
            pass
        from .. import study  # noqa: F401
    except Exception as error:  # who asks is told
        print(error, file=sys.stderr)


def _silent(line: str) -> None:
    pass
