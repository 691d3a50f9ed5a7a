"""Writing: whole or untouched, whatever fails or stops it at whatever instant; nothing stays behind a dead run."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from LIPCARLib import locks, storage
from LIPCARLib.errors import LIPCARError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are killed in forked children")

CALLS = ("open", "fsync", "replace", "link", "unlink", "rmdir", "mkdir", "chmod")
"""Of `os`, all that pathlib, shutil and the module itself change a disk with, besides writing into an open file."""


def old_files(root: Path) -> dict[Path, bytes | None]:
    return {root / "a/x": b"old x", root / "a/y": b"old y", root / "a/w": b"old w", root / "b/r": b"old r"}


def new_files(root: Path) -> dict[Path, bytes | None]:
    """A set over three folders: files replaced, made, removed, and a folder that is new."""
    files = {root / name: f"new {name}".encode() for name in ("a/x", "a/y", "a/z", "b/r", "c/new/0001", "c/new/0002")}
    return {**files, root / "a/w": None}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for the disk, which only a power cut would need."""
    monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return prepared(tmp_path / "root")


def prepared(root: Path) -> Path:
    for folder in ("a", "b", "c"):
        (root / folder).mkdir(parents=True)
    for path, content in old_files(root).items():
        path.write_bytes(content or b"")
    return root


def found(root: Path) -> dict[Path, bytes]:
    """Every file and, as empty, every empty folder."""
    paths = [path for path in root.rglob("*") if path.is_file() or not any(path.iterdir())]
    return {path: path.read_bytes() if path.is_file() else b"" for path in paths}


def state(root: Path) -> str:
    everything = found(root)
    for name, files in (("old", {**old_files(root), root / "c": b""}), ("new", new_files(root))):
        if everything == {path: content for path, content in files.items() if content is not None}:
            return name
    return f"mixed: {sorted(everything)}"


def patched(patch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
    """Have `act` called before each of CALLS with its number, counted over all of them."""
    calls = iter(range(10**6))

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            act(next(calls))
            return original(*args, **options)

        return call

    for name in CALLS:
        patch.setattr(os, name, wrapped(getattr(os, name)))


class Killed(BaseException):
    """What a process that is killed does: nothing any more, no tidying up either."""


def killed_at(number: int, work: Callable[[], None]) -> bool:
    """Whether the work came as far as that call, from which on nothing is done."""

    def die(call: int) -> None:
        if call >= number:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patched(patch, die)
        try:
            work()
        except Killed:
            return True
    return False


def in_child(work: Callable[[], None]) -> int:
    """Run something in a forked process; its wait status."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def hidden(root: Path) -> list[Path]:
    return list(root.rglob(".lipcar*"))


def test_a_set_is_written(root: Path) -> None:
    storage.write(new_files(root))
    assert state(root) == "new"
    assert storage.anything_written()


def test_a_kill_at_any_call_leaves_all_old_or_all_new(tmp_path: Path) -> None:
    seen = set()
    for number in range(500):
        root = prepared(tmp_path / str(number))
        if not killed_at(number, lambda root=root: storage.write(new_files(root))):  # type: ignore[misc]
            break
        for folder in ("b", "a", "c"):  # the next run may come by any of them first
            storage.settle(root / folder)
            if folder == "b":
                seen.add(state_of_sets(root))
        assert state(root) in ("old", "new"), number
    assert number > 60
    assert seen == {"old", "new"}


def test_a_real_kill(tmp_path: Path) -> None:
    for number in range(0, 500, 9):
        root = prepared(tmp_path / str(number))

        def run(root: Path = root, number: int = number) -> None:
            patched(pytest.MonkeyPatch(), lambda call: os.kill(os.getpid(), signal.SIGKILL) if call == number else None)
            storage.write(new_files(root))

        status = in_child(run)
        storage.write(new_files(root))
        assert state(root) == "new"
        if not os.WIFSIGNALED(status):
            break
    assert number > 60


def state_of_sets(root: Path) -> str:
    """As :func:`state`, while folders that no run came by may still hold what is hidden."""
    for folder in ("a", "c"):
        for path in (root / folder).glob(".lipcar*"):
            if path.is_file():
                path.unlink()
            else:
                storage.shutil.rmtree(path)
    return state(root)


def test_a_kill_during_the_recovery(tmp_path: Path) -> None:
    middle = next(n for n in range(100) if is_half_done(prepared(tmp_path / f"probe-{n}"), n))
    for number in range(0, 200, 2):
        root = prepared(tmp_path / str(number))
        assert is_half_done(root, middle)
        if not killed_at(number, lambda root=root: storage.settle(root / "a")):  # type: ignore[misc]
            break
        storage.settle(root / "b")
        storage.settle(root / "a")
        assert state_of_sets(root) == "old"
    assert number > 10


def is_half_done(root: Path, number: int) -> bool:
    killed_at(number, lambda: storage.write(new_files(root)))
    return (root / "a/x").read_bytes() != b"old x"


def test_an_error_at_any_call_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(call: int, number: int) -> None:
        if call == number:
            raise OSError(errno.EIO, "Input/output error")

    outcomes = []
    for number in range(500):
        root = prepared(tmp_path / str(number))
        with monkeypatch.context() as patch:
            patched(patch, partial(fail, number=number))
            try:
                storage.write(new_files(root))
                outcomes.append("new")
            except LIPCARError as error:
                assert "Input/output error" in str(error)
                outcomes.append("old")
        for folder in ("a", "b", "c"):
            storage.settle(root / folder)
        assert state(root) == outcomes[-1], number
        if outcomes[-20:] == ["new"] * 20:
            break
    assert outcomes.count("old") > 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_call_leaves_all_old_or_all_new_and_nothing_else(tmp_path: Path, number: int) -> None:
    outcomes = []
    for call in range(0, 500, 9):
        root = prepared(tmp_path / str(call))

        def run(root: Path = root, call: int = call) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            patched(pytest.MonkeyPatch(), lambda one: os.kill(os.getpid(), number) if one == call else None)
            try:
                storage.write(new_files(root))
            except KeyboardInterrupt:
                os._exit(130)

        status = in_child(run)
        stopped = os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 130
        outcomes.append(state(root))
        assert outcomes[-1] in ("old", "new")
        if not stopped:
            break
    assert set(outcomes) == {"old", "new"}


def test_what_a_dead_run_left_goes_and_what_a_live_one_prepares_stays(root: Path) -> None:
    read, write = os.pipe()

    def slow(part: Path) -> None:
        part.write_bytes(b"slow")
        os.write(write, b".")
        time.sleep(0.5)

    child = os.fork()
    if child == 0:
        storage.write({root / "a/x": slow, root / "a/y": b"slow"})
        os._exit(0)
    os.read(read, 1)
    assert hidden(root)
    storage.write({root / "a/x": b"second", root / "a/y": b"second"})  # waits
    assert os.waitpid(child, 0)[1] == 0
    assert {(root / "a" / name).read_bytes() for name in "xy"} == {b"second"}
    assert not hidden(root)


def test_who_waits_too_long_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with storage.claimed(root / "a"), locks.locked(root / "a" / storage.LOCK, 0.0):
            os.write(write, b".")
            time.sleep(60)
    os.read(read, 1)
    monkeypatch.setattr(storage, "PATIENCE", 0.1)
    with pytest.raises(LIPCARError, match=rf"Another run of LIPCAR writes into '.*a' \(.*process {child}\)"):
        storage.write({root / "a/x": b"new"})
    with pytest.raises(LIPCARError, match="Another run"), storage.claimed(root / "a"):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with storage.claimed(root / "a"):
        storage.write(new_files(root))
    assert state(root) == "new"


def test_threads_of_one_process_wait_for_each_other(root: Path) -> None:
    def work(name: str) -> None:
        for number in range(10):
            storage.write({root / f"a/{name}-{number}-{part}": name.encode() for part in range(2)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, "pqrs"))  # raises what one of them raises
    assert len(list((root / "a").glob("?-*"))) == 80
    with storage.claimed(root / "a"), pytest.raises(LIPCARError, match="Another run"), storage.claimed(root / "a"):
        pass


def test_a_lock_names_its_holder_and_no_dead_one(root: Path) -> None:
    lock = root / "a" / storage.LOCK
    lock.write_text("another-computer, process 123456789")
    with locks.locked(lock, 0.0):
        assert lock.read_text().endswith(f" {os.getpid()}")


def test_a_claim_leaves_no_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), storage.claimed(tmp_path / "new" / "deep"):
        raise ZeroDivisionError
    assert not any(tmp_path.iterdir())


def test_two_runs_into_one_new_folder(tmp_path: Path) -> None:
    def run(name: str) -> None:
        time.sleep(0.05)
        storage.write({tmp_path / "new" / f"{i}": name.encode() for i in range(5)}, fresh=tmp_path / "new")

    children = []
    for name in "ab":
        children.append(os.fork())
        if children[-1] == 0:
            try:
                run(name)
            except LIPCARError as error:
                os._exit(2 if "not empty" in str(error) else 1)
            os._exit(0)
    assert sorted(os.WEXITSTATUS(os.waitpid(child, 0)[1]) for child in children) == [0, 2]
    assert len({path.read_bytes() for path in (tmp_path / "new").iterdir()}) == 1
    assert len(found(tmp_path)) == 5


@pytest.mark.parametrize("limit", range(0, 40_000, 2_500))
def test_a_limit_on_the_size_of_files(root: Path, limit: int) -> None:
    """As a full disk: at once, or in the middle of the second file."""
    wanted = {root / "a/x": b"x" * 10_000, root / "a/y": b"y" * 30_000}

    def run() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            storage.write(wanted)
        except LIPCARError as error:
            os._exit(2 if "File too large" in str(error) else 1)

    assert os.WEXITSTATUS(in_child(run)) == (2 if limit < 30_000 else 0)
    assert not hidden(root)
    if limit < 30_000:
        assert state(root) == "old"
    else:
        assert {path: path.read_bytes() for path in wanted} == wanted


def test_what_is_read_back_is_compared(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.read_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: original(path)[:-1])
        with pytest.raises(LIPCARError, match="read back is not what was written"):
            storage.write(new_files(root))
    assert state(root) == "old"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x" * 256, "name too long"),
        ("a", "is a folder"),
        ("loop", "symbolic links"),
        ("a\0b", "no path"),
        ("a/x/y", "Not a directory"),
        ("pipe", "is a device or a pipe"),
        ("nowhere/x", "does not exist"),
    ],
)
def test_places_that_cannot_be(root: Path, name: str, words: str) -> None:
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    with pytest.raises(LIPCARError, match=words):
        storage.check_place(root / name)
    if name != "nowhere/x":  # write makes folders
        with pytest.raises(LIPCARError, match=words):
            storage.write({root / "a/x": b"new", root / name: b"new"})
    assert (root / "a/x").read_bytes() == b"old x"
    assert not hidden(root)


def test_names_of_every_length_and_bytes_that_are_no_utf8(root: Path) -> None:
    files = {root / ("x" * n): b"new" for n in (240, 250, 255)} | {root / os.fsdecode(b"l\xe4ge"): b"new"}
    for path in files:
        storage.check_place(path)
    storage.write({**files, **new_files(root)})
    assert all(path.read_bytes() == b"new" for path in files)


def test_a_link_stays_a_link(root: Path) -> None:
    (root / "link").symlink_to(root / "a/x")
    storage.write({root / "link": b"new"})
    assert (root / "link").is_symlink()
    assert (root / "a/x").read_bytes() == b"new"
    with pytest.raises(LIPCARError, match="same path"):
        storage.write({root / "link": b"1", root / "a/x": b"2"})


def test_without_hard_links_and_without_locks(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "link", unable)
    monkeypatch.setattr(locks.fcntl, "lockf", unable)
    storage.write(new_files(root))
    assert state(root) == "new"


def test_a_planted_journal_moves_nothing_elsewhere(root: Path) -> None:
    stage = root / "a" / f"{storage.HIDDEN}-12345678"
    stage.mkdir()
    (stage / "0.old").write_bytes(b"planted")
    (stage / storage.JOURNAL).write_text(f'[["{stage}", 0, "../b/r", true]]')
    storage.settle(root / "a")
    assert (root / "b/r").read_bytes() == b"old r"
    for text in ("[" * 100_000, '[["relative", 0, "x", true]]', "[1]", '{"a": 1}', '[["a", "b", "c", "d", "e"]]'):
        stage.mkdir()
        (stage / storage.JOURNAL).write_text(text)
        storage.settle(root / "a")
        assert not hidden(root)


def test_rights_are_those_of_any_new_file(root: Path) -> None:
    storage.write(new_files(root))
    (root / "plain").touch()
    rights = stat.S_IMODE((root / "plain").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in found(root)} == {rights}


def test_a_model_killed_while_it_is_saved_over_an_old_one(tmp_path: Path) -> None:
    from LIPCARLib.inverse import AnchoredPrior, load_model, save_anchored_model

    old, new = AnchoredPrior((4, 4), 1), AnchoredPrior((4, 8), 1)
    save_anchored_model(tmp_path / "old", "mine", old, {})
    digests = [load_model(tmp_path / "old").digest]
    for number in range(0, 500, 2):
        folder = tmp_path / str(number)
        storage.shutil.copytree(tmp_path / "old", folder)
        going = killed_at(number, partial(save_anchored_model, folder, "mine", new, {}))
        digests.append(load_model(folder).digest)
        assert not hidden(folder)
        if not going:
            break
    assert number > 20
    assert set(digests) == {digests[0], digests[-1]}
    assert digests[0] != digests[-1]
