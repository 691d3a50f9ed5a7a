"""The answering side: who is welcome, one request at a time, and that nothing that is sent ends it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pytest

from LIPCARLib.engine import handshake
from LIPCARLib.engine.client import EngineError, converse
from LIPCARLib.engine.messages import MAGIC, PREFIX, PROTOCOL, Channel, Message
from LIPCARLib.engine.server import MOST_CONNECTIONS, Server
from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import complete

TOKEN = b"correct horse battery"
SLOT = 0.01


class Engine:
    """Does what the request's kind says."""

    def __init__(self) -> None:
        self.go, self.closed = threading.Event(), threading.Event()
        self.at_once, self.most = 0, 0

    def run(self, request: Message) -> Generator[Message | None, None, Message]:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            yield Message("progress", {"fraction": 0.5})
            if request.kind == "mend":
                raise LIPCARError("The image of Doe^John is too small.")
            if request.kind == "fail":
                raise ZeroDivisionError("by nothing")
            if request.kind == "fill":
                raise MemoryError
            if request.kind == "read":
                raise FileNotFoundError(2, "No such file or directory", "weights")
            while request.kind == "wait" and not self.go.wait(SLOT):
                yield None
            return Message("answer", request.values, request.arrays)
        except GeneratorExit:
            self.closed.set()
            raise
        finally:
            self.at_once -= 1


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def server(engine: Engine, log: list[str]) -> Iterator[Server]:
    server = Server(engine.run, TOKEN, log.append, patience=0.3, largest_arrays=10_000)
    threading.Thread(target=server.serve, daemon=True).start()
    yield server
    server.close()


def ask(server: Server, kind: str = "echo", token: bytes | None = TOKEN, **values: Any) -> Message:
    request = Message(kind, values, {"a": np.arange(3)})
    return complete(converse(server.address, token, request, SLOT, 5.0))


def eventually(fulfilled: Any) -> None:
    for _turn in range(1000):
        if fulfilled():
            return
        time.sleep(0.01)
    raise AssertionError("it never came so far")


def test_a_request_is_answered(server: Server, log: list[str]) -> None:
    answer = ask(server, name="Doe^John")
    assert answer.values == {"name": "Doe^John"} and answer.arrays["a"].tolist() == [0, 1, 2]
    with pytest.raises(LIPCARError, match=r"^The image of Doe\^John is too small\.$"):
        ask(server, "mend")
    with pytest.raises(EngineError, match="by nothing"):
        ask(server, "fail")
    with pytest.raises(EngineError, match="No such file"):
        ask(server, "read")
    with pytest.raises(LIPCARError, match="not enough memory"):
        ask(server, "fill")
    eventually(lambda: len(log) == 5)
    assert "echo 3: done" in log[0] and not any("Doe" in line for line in log)


@pytest.mark.parametrize(
    ("token", "message"), [(None, "asks for a token"), (b"another horse battery", "another one than the engine's")]
)
def test_who_does_not_know_the_token(server: Server, token: bytes | None, message: str) -> None:
    with pytest.raises(LIPCARError, match=message):
        ask(server, token=token)
    assert ask(server).kind == "answer"


def test_the_token_is_never_sent_and_a_proof_serves_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Message] = []
    send = Channel.send

    def noted(channel: Channel, message: Message) -> Any:
        sent.append(message)
        return send(channel, message)

    monkeypatch.setattr(Channel, "send", noted)
    ask(server)
    assert not any(TOKEN.decode() in str(message.values) for message in sent)
    proof = next(message.values for message in sent if "lipcar" in message.values and "proof" in message.values)
    with socket.create_connection(server.address) as connection:
        channel = Channel(connection, SLOT, 5.0)
        complete(channel.receive())
        complete(send(channel, Message("hello", proof)))
        assert complete(channel.receive()).kind == "refused"


def test_no_image_goes_to_who_does_not_know_the_token(engine: Engine) -> None:
    impostor = Server(engine.run, b"what was heard elsewhere", print)
    threading.Thread(target=impostor.serve, daemon=True).start()
    with pytest.raises(LIPCARError):
        ask(impostor)
    open_to_all = Server(engine.run, None, print)
    threading.Thread(target=open_to_all.serve, daemon=True).start()
    assert ask(open_to_all, token=None).kind == "answer"
    with pytest.raises(LIPCARError, match="does not know the token"):
        ask(open_to_all)
    for server in (impostor, open_to_all):
        server.close()
    assert engine.most == 1


def test_another_version(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_other_version", lambda version: "" if version == "9" else "Use the same version.")
    with pytest.raises(LIPCARError, match="Use the same version"):
        ask(server)


@pytest.mark.parametrize(
    "sent",
    [
        os.urandom(1000),
        b"GET / HTTP/1.1\r\n\r\n",
        PREFIX.pack(MAGIC, PROTOCOL + 1, 10) + b"0123456789",
        PREFIX.pack(MAGIC, PROTOCOL, 2**32 - 1),
        PREFIX.pack(MAGIC, PROTOCOL, 5000) + b"x" * 5000,
        PREFIX.pack(MAGIC, PROTOCOL, 100) + b'{"kind": "hello"',
        PREFIX.pack(MAGIC, PROTOCOL, 2) + b"{}",
        b"",
    ],
    ids=["random", "http", "other protocol", "claims 4 GB", "long greeting", "half a message", "empty", "silent"],
)
def test_what_is_hostile_is_refused_and_the_server_lives(server: Server, sent: bytes, log: list[str]) -> None:
    with socket.create_connection(server.address) as connection:
        connection.settimeout(5)
        complete(Channel(connection, SLOT, 5.0).receive())
        connection.sendall(sent)
        channel = Channel(connection, SLOT, 5.0)
        said = complete(channel.receive())
        assert said.kind == "refused" and said.values["text"]
    eventually(lambda: any("refused" in line for line in log))
    assert ask(server).kind == "answer"


def test_a_request_that_claims_too_much(server: Server) -> None:
    request = Message("echo", {}, {"a": np.zeros(10_001, np.uint8)})
    with pytest.raises(LIPCARError, match="10001 bytes; at most 10000"):
        complete(converse(server.address, TOKEN, request, SLOT, 5.0))
    assert ask(server).kind == "answer"


def test_leaving_cancels_and_the_next_one_has_its_turn(server: Server, engine: Engine, log: list[str]) -> None:
    steps = converse(server.address, TOKEN, Message("wait"), SLOT, 5.0)
    while next(steps) is None:
        pass
    answers: list[Message] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(server)))
    waiting.start()
    waiting.join(0.2)
    assert not answers
    steps.close()
    waiting.join(5)
    assert engine.closed.wait(5) and answers and engine.most == 1
    eventually(lambda: any("canceled" in line for line in log))


def test_too_many_at_once(engine: Engine, log: list[str]) -> None:
    server = Server(engine.run, TOKEN, log.append)
    threading.Thread(target=server.serve, daemon=True).start()
    crowd = [socket.create_connection(server.address) for _ in range(MOST_CONNECTIONS + 2)]
    eventually(lambda: sum("too many" in line for line in log) == 2)
    for one in crowd:
        one.close()
    eventually(lambda: sum("lost" in line for line in log) == MOST_CONNECTIONS)
    assert ask(server).kind == "answer"
    server.close()


def test_an_address_that_is_taken(server: Server) -> None:
    with pytest.raises(LIPCARError, match="cannot be listened on"):
        Server(Engine().run, None, print, *server.address)
