"""Writing files: checked on the disk, a set at a time, and whole or untouched whatever stops the run, a kill included.

A set is prepared in hidden folders beside its targets, flushed and read back; then it is moved into place. Where that
takes more than one move, a journal in those hidden folders names what was there before. The next run that comes by
finds what a dead one left: with a journal, the old files are put back; without one, there is only to tidy up.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .errors import LIPCARError
from .locks import Signals, explained, locked

Content = bytes | Callable[[Path], None] | None
"""Of a file: its bytes, what writes and checks them at the path that it is given, or None for no such file."""

LOCK = ".lipcar.lock"
"""Held while a run writes into a folder: who holds it knows that what others left there is of dead runs."""
CLAIM = ".lipcar.run"
"""Held while a run keeps a folder to itself, see :func:`claimed`."""
HIDDEN = ".lipcar"
"""How the names of lock files begin, and of the folders that files are prepared in."""
JOURNAL = "journal.json"
PATIENCE = 60.0
"""Seconds to wait for another run's files: writing is the shortest part of a run."""
_wrote = threading.Event()


def anything_written() -> bool:
    """Whether this process, or one that works for it, has put a file in its place: what it says when stopped."""
    return _wrote.is_set()


def others_write() -> None:
    """From here on, other processes write for this one, and what they have finished is not known here."""
    _wrote.set()


def write(files: Mapping[Path, Content], fresh: Path | Sequence[Path] = ()) -> None:
    """Write, replace or remove files: all, or none. Folders that are missing are made.

    A run that is killed in the midst of it leaves all old or all new files, at the latest after the next run. Signals
    that would stop the process wait until all is in place or cleared away. A link is followed: what it points to is
    replaced.

    Args:
        files: content by path.
        fresh: a folder, or several, that must be missing or empty when the files are put in place.

    Raises:
        LIPCARError: a path that cannot be written, with the system's reason; two that are one; another run that does
            not come to an end there.
    """
    targets = {real_path(path): content for path, content in files.items()}
    if len(targets) < len(files):
        raise LIPCARError("Two outputs have the same path; give each its own.")
    fresh = [fresh] if isinstance(fresh, Path) else fresh
    for folder in fresh:
        _check_empty(folder)
    for path in targets:
        _check_target(path)
    with Signals() as signals, _held(targets, signals):
        for folder in fresh:
            _check_empty(folder)  # nobody was quicker
        stages: dict[Path, Path] = {}
        try:
            places = _prepare(targets, stages, signals)
            if places:
                _put_in_place(places, signals)
        finally:
            for stage in stages.values():
                _tidy(stage)


def check_place(path: str | os.PathLike[str]) -> None:
    """Refuse the path of a file that could not be written, before anything is computed for it.

    Raises:
        LIPCARError: no such folder, no permission, a folder or device of that name, a name that is too long.
    """
    real = real_path(Path(path))
    _check_target(real)
    if not real.parent.is_dir():
        raise LIPCARError(f"The folder '{real.parent}' does not exist. Create it or choose another one.")
    _settle(real.parent)


def check_folder(folder: Path) -> None:
    """Refuse a folder of results, made with them if missing, that could not be written to.

    Raises:
        LIPCARError: it is a file, or cannot be made or written to.
    """
    real = real_path(folder)
    _check_target(real / LOCK)
    _settle(real)


def check_fresh(folder: Path) -> None:
    """Refuse a folder that holds something, is a file, or could not be made.

    Raises:
        LIPCARError: which of them.
    """
    real = real_path(folder)
    if not real.is_dir():
        _check_empty(real)
    _settle(real)
    _check_empty(real)


def real_path(path: Path) -> Path:
    """Where a path leads to, links followed.

    Raises:
        LIPCARError: it holds what no path may, as a NUL.
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise LIPCARError(f"{str(path)!r} is no path of a file: {error}.") from error


def settle(folder: Path) -> None:
    """Before reading from a folder: put right what a killed run left there, and let one that is writing finish."""
    with suppress(OSError):
        if _hidden(folder):
            _settle(folder)


@contextmanager
def claimed(folder: str | os.PathLike[str], patience: float = 0.0) -> Iterator[None]:
    """Keep a folder, made if missing, to one run: another that claims it waits so many seconds, and is refused.

    Raises:
        LIPCARError: another run has it, or it cannot be made.
    """
    folder = real_path(Path(folder))
    with explained(folder, "made"):
        made = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / CLAIM, patience):
            for depth in ("", "*/", "*/*/"):
                for place in {one.parent for one in folder.glob(f"{depth}{HIDDEN}*")}:
                    settle(place)
            yield
    finally:
        for one in made:
            with suppress(OSError):
                one.rmdir()  # where nothing came of it


def put(path: Path, data: bytes) -> None:
    """Write a file, flush it to the disk and read it back. In a hidden folder only: all else goes by `write`.

    Raises:
        OSError: it cannot be written, or is not what was written.
    """
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.read_bytes() != data:
        raise OSError(errno.EIO, "What was read back is not what was written")


def flush(path: Path) -> None:
    """Have a file, or a folder where the system can, on the disk and not only in memory."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class _Place:
    """A file or a new folder on its way: prepared in `part`, to be put at `target`, where there was an old one or not.

    Targets lie beside the stage: a journal cannot name others.
    """

    stage: Path
    index: int
    name: str
    old: bool

    @property
    def target(self) -> Path:
        return self.stage.parent / self.name

    @property
    def part(self) -> Path:
        return self.stage / f"{self.index}-{self.name[-16:]}"  # a short name that ends alike: ITK goes by that

    @property
    def backup(self) -> Path:
        return self.stage / f"{self.index}.old"


def _prepare(targets: Mapping[Path, Content], stages: dict[Path, Path], signals: Signals) -> list[_Place]:
    """Write everything into stages, one beside each target, which are noted in `stages` by folder."""
    places: dict[Path, _Place] = {}
    for path, content in targets.items():
        signals.check()
        unit = _unit(path)
        old = os.path.lexists(unit)
        if content is None and not old:
            continue
        with explained(path):
            if unit.parent not in stages:
                stages[unit.parent] = unit.parent / f"{HIDDEN}-{uuid.uuid4().hex[:8]}"
                stages[unit.parent].mkdir(mode=0o700)
            place = places.setdefault(unit, _Place(stages[unit.parent], len(places), unit.name, old))
            if content is not None:
                part = place.part / path.relative_to(unit)
                part.parent.mkdir(parents=True, exist_ok=True)
                put(part, content) if isinstance(content, bytes) else content(part)
    return list(places.values())


def _put_in_place(places: list[_Place], signals: Signals) -> None:
    """The switch: one move, or several under a journal. After an error or a signal, all is as it was."""
    signals.check()
    journal = places[0].stage / JOURNAL if len(places) > 1 else None
    try:
        if journal is not None:
            _keep_old(places)
        for place in places:
            with explained(place.target):
                os.replace(place.part, place.target) if place.part.exists() else place.target.unlink()
        for folder in {place.stage.parent for place in places}:
            _flush_folder(folder)
        if journal is not None:
            signals.check()
            with explained(journal):
                journal.unlink()  # from here on, all is new
    except BaseException:
        if journal is not None:
            _roll_back(places)
        raise
    _wrote.set()


def _keep_old(places: list[_Place]) -> None:
    """Second names for the old files; then the journal, in every stage: it counts while the first stage has it."""
    for place in places:
        if place.old:
            with explained(place.target):
                try:
                    os.link(place.target, place.backup)
                except OSError:  # a file system without links, or a file of somebody else
                    put(place.backup, place.target.read_bytes())
    text = json.dumps([[str(place.stage), place.index, place.name, place.old] for place in places]).encode()
    for stage in reversed(list(dict.fromkeys(place.stage for place in places))):
        with explained(stage):
            put(stage / f"{JOURNAL}.new", text)
            os.replace(stage / f"{JOURNAL}.new", stage / JOURNAL)
            _flush_folder(stage)


def _roll_back(places: list[_Place]) -> None:
    """Put back what was there; may be stopped and begun again."""
    for place in reversed(places):
        with explained(place.target):
            if place.old:
                if place.backup.exists():
                    os.replace(place.backup, place.target)
            elif not os.path.lexists(place.part) and os.path.lexists(place.target):
                os.replace(place.target, place.part)
    for folder in {place.stage.parent for place in places}:
        _flush_folder(folder)
    (places[0].stage / JOURNAL).unlink(missing_ok=True)


def _tidy(stage: Path) -> None:
    """Remove a stage, but not one whose journal still counts: the next run will need it."""
    places = _journal(stage)
    if not places or not (places[0].stage / JOURNAL).exists():
        shutil.rmtree(stage, ignore_errors=True)


def _recover(folder: Path) -> None:
    """Roll back or tidy up what dead runs left in a folder whose lock is held."""
    for stage in _stages(folder):
        places = _journal(stage)
        if places and (places[0].stage / JOURNAL).exists():
            _roll_back(places)
        _tidy(stage)


def _stages(folder: Path) -> list[Path]:
    """The hidden folders of runs of the same user: what a stranger puts there moves no files."""
    found = [one for one in folder.glob(f"{HIDDEN}-*") if one.is_dir() and not one.is_symlink()]
    return [one for one in found if not hasattr(os, "getuid") or one.stat().st_uid == os.getuid()]


def _hidden(folder: Path) -> list[Path]:
    """What runs have left in a folder, or have there; without claims."""
    return [one for one in folder.glob(f"{HIDDEN}*") if one.name != CLAIM]


def _journal(stage: Path) -> list[_Place]:
    """What a stage's journal names; nothing where there is none."""
    try:
        rows = json.loads((stage / JOURNAL).read_bytes())
        return [_Place(Path(stage), index, Path(name).name, old) for stage, index, name, old in rows]
    except (OSError, ValueError, TypeError, RecursionError):  # none, or none of ours
        return []


def _check_target(path: Path) -> None:
    with explained(path):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return
    if stat.S_ISDIR(mode):
        raise LIPCARError(f"'{path}' is a folder; a file name is expected.")
    if not stat.S_ISREG(mode):
        raise LIPCARError(f"'{path}' is a device or a pipe; a file name is expected.")


def _check_empty(folder: Path) -> None:
    with explained(folder):
        if folder.is_dir():
            if any(not name.startswith(HIDDEN) for name in os.listdir(folder)):
                raise LIPCARError(f"'{folder}' is not empty; a new or empty folder is expected.")
        elif os.path.lexists(folder):
            raise LIPCARError(f"'{folder}' is a file; a new or empty folder is expected.")


def _unit(path: Path) -> Path:
    """What is moved at once: the topmost missing folder above a path, or the file itself."""
    return next((one for one in reversed(path.parents) if not one.exists()), path)


def _settle(folder: Path) -> None:
    with Signals() as signals, _held([folder / LOCK], signals):
        pass


@contextmanager
def _held(paths: Iterable[Path], signals: Signals) -> Iterator[None]:
    """Hold the locks of all folders that it takes to write to paths; nothing of dead runs is in them then."""
    while True:
        wanted = _folders(paths)
        with ExitStack() as locks:
            for folder in sorted(wanted):
                locks.enter_context(locked(folder / LOCK, PATIENCE, signals))
            if _folders(paths) <= wanted:
                for folder in wanted:
                    _recover(folder)
                yield
                return


def _folders(paths: Iterable[Path]) -> set[Path]:
    """Where paths are prepared, where a run that made these folders was, and what the journals there name."""
    folders = {_unit(path).parent for path in paths}
    folders |= {one for folder in folders for one in list(folder.parents)[:3] if _hidden(one)}
    stages = [stage for folder in folders for stage in _stages(folder)]
    named = {place.stage.parent for stage in stages for place in _journal(stage)}
    return folders | {folder for folder in named if folder.is_dir()}


def _flush_folder(folder: Path) -> None:
    with suppress(OSError):  # not every system can
        flush(folder)
