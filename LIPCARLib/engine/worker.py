"""What a child process runs: it listens on the loopback, loads torch, computes, and ends with its parent."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Generator

from .jobs import answer
from .messages import Message
from .server import SLOT, Server

PATIENCE = 120.0
"""Seconds that the parent may stay silent in the midst of its request: its window may be busy."""


def main() -> None:
    """Reads a line of JSON with the token from stdin, and prints one with the port."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe
    told = json.loads(sys.stdin.readline())
    any_folder, loaded = bool(told["any_folder"]), threading.Event()

    def run(request: Message) -> Generator[Message | None, None, Message]:
        while not loaded.wait(SLOT):  # two threads that import the same packages may meet halfway
            yield None
        return (yield from answer(request, any_folder))

    server = Server(run, bytes.fromhex(told["token"]), _silent, patience=PATIENCE)
    print(json.dumps({"port": server.address[1]}), flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what packages print is nobody's answer
    threading.Thread(target=server.serve, daemon=True).start()
    threading.Thread(target=_load, args=(loaded,), daemon=True).start()
    sys.stdin.read()
    os._exit(0)  # the parent is gone: nobody waits for what is under way


def _load(loaded: threading.Event) -> None:
    """Import what jobs need before anybody asks; torch takes seconds."""
    try:
        from ..inverse import available_devices, load_model, reconstruct  # noqa: F401
        from ..study import examination_metrics  # noqa: F401
        from ..trust import evidence, judge  # noqa: F401
    except Exception:
        traceback.print_exc()  # who asks meets it again, and is told
    loaded.set()


def _silent(line: str) -> None:
    pass
