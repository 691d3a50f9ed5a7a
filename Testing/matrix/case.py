"""A case of the matrix: what is given, what is called, what must come of it; and the judge of what came."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .inputs import GRID, Arrange, Grid, examination
from .server import Server

FORBIDDEN = r"Traceback|WARNING|itk::|sitk::|ITK ERROR|terminate called|Warning:|\x1b\[|\x00|[\x01-\x08\x0e-\x1f]"
"""What no user shall read: the words of Python, ITK and the linker, and bytes that steer a terminal."""
PARTLY = r"Failed: .+: |\d+ of \d+ examinations failed"
"""What stands there besides, where some of many failed."""
CHATTER = r"Notice: |step \d|(prior|forward_operator) epoch|\S+ done, \d+ of \d+|Left out: |noise-[\d.]+$|.+ (enhanced|kept), \d+ of \d+$"
"""How the lines on stderr begin that are no error."""
Check = Callable[[Path], None]


@dataclass(frozen=True)
class Expected:
    """What must come of a case.

    Attributes:
        code: exit code.
        says: regular expressions, each found in the one line of error, or in the output where there is no error.
        hides: regular expressions that must not be found there.
        writes: all that is new in the folder afterwards, by name; everything else is as it was before. A folder stands
            for what lies in it.
        replaces: what was there before, and is to be written anew.
        grid: of each image that is written; None where it is not known.
        check: what else must hold, given the folder.
    """

    code: int
    says: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    grid: Grid | None = GRID
    check: Check | None = None


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        name: what is odd about it.
        arrange: puts the inputs into an empty folder.
        call: a command line, or a door and its arguments; see `server` and `doors`. Names of files are relative to
            the folder.
        expected: one of them must come.
        circumstances: of the process, see `Server.call`.
    """

    name: str
    arrange: Arrange
    call: str | tuple[str, ...]
    expected: tuple[Expected, ...]
    circumstances: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        return shlex.split(self.call) if isinstance(self.call, str) else list(self.call)


def refused(*says: str, hides: tuple[str, ...] = (), check: Check | None = None) -> Expected:
    """A mistake that the user can mend: exit 2, one line that names what is expected, nothing changed."""
    return Expected(2, says, hides, check=check)


def enhanced(
    *says: str,
    hides: tuple[str, ...] = (),
    writes: tuple[str, ...] = ("out.nrrd",),
    replaces: tuple[str, ...] = (),
    grid: Grid | None = GRID,
    check: Check | None = None,
) -> Expected:
    """A finite image of the low-dose image's grid."""
    return Expected(0, says, hides, writes, replaces, grid, check)


def done(
    *says: str, hides: tuple[str, ...] = (), writes: tuple[str, ...] = (), replaces: tuple[str, ...] = ()
) -> Expected:
    """A command that is no `enhance`, or a door, came to its end."""
    return Expected(0, says, hides, writes, replaces, None)


def partly(*says: str, writes: tuple[str, ...] = ()) -> Expected:
    """Of many, some failed, each with a line of its own; the rest is done."""
    return Expected(1, says, writes=writes, grid=None)


def stopped(code: int) -> Expected:
    """By a signal: one line, nothing changed."""
    return Expected(code, ("Stopped; nothing was written",))


def near(share: float, times: float = 1.0, name: str = "out.nrrd") -> Check:
    """The image differs by less than this share of the body's brightness from what the images as they were acquired
    give, both times `times` the units.
    """

    def check(folder: Path) -> None:
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name))).astype(np.float64)
        truth = clean_result().astype(np.float64) * times
        body = examination()["lowdose"] > 0.2 * examination()["lowdose"].max()
        error = np.sqrt(np.mean((array - truth)[body] ** 2)) / truth[body].mean()
        assert error < share, f"off by {error:.3f} of the body's brightness"

    return check


_CLEAN: dict[str, np.ndarray] = {}


def clean_result() -> np.ndarray:
    return _CLEAN["result"]


def keep_clean_result(array: np.ndarray) -> None:
    _CLEAN["result"] = array


State = dict[str, tuple[int, int, int]]


def state_of(folder: Path) -> State:
    """Everything in a folder: a file that was written anew, even with the same content, is told apart."""
    found: State = {}
    for path in sorted(folder.rglob("*")):
        status = os.lstat(path)
        size, when = (0, 0) if path.is_dir() and not path.is_symlink() else (status.st_size, status.st_mtime_ns)
        found[str(path.relative_to(folder))] = status.st_mode, size, when
    return found


def judge(case: Case, server: Server, folder: Path) -> None:
    """Arrange, call and judge one case.

    Raises:
        AssertionError: what came is not what was expected.
    """
    case.arrange(folder)
    before = state_of(folder)
    elsewhere = folder.with_name(folder.name + ".tmp")
    elsewhere.mkdir()
    circumstances = {**case.circumstances}
    circumstances["environment"] = {"TMPDIR": str(elsewhere), **circumstances.get("environment", {})}
    came = server.call(case.words, folder, **circumstances)
    shown = f"{' '.join(case.words)[:300]!a}\nexit {came['code']} after {came['seconds']:.1f} s\n"
    shown += f"{came['out'][-1500:]}\n--\n{came['err'][-3000:]}"
    assert not came["hung"], f"hung: {shown}"
    fitting = [one for one in case.expected if one.code == came["code"]]
    assert fitting, f"exit code {came['code']}, expected {[one.code for one in case.expected]}: {shown}"
    assert not (found := re.search(FORBIDDEN, came["out"] + came["err"])), f"{found[0]!r} was printed: {shown}"
    left = [path.name for path in elsewhere.iterdir() if not path.name.startswith("torchinductor")]  # torch's own
    assert not left, f"left in the temporary folder, {left}: {shown}"
    problems = [problem for one in fitting if (problem := _problem(one, came, before, folder)) is not None]
    assert len(problems) < len(fitting), f"{problems[0]}: {shown}"


def _problem(expected: Expected, came: dict[str, Any], before: State, folder: Path) -> str | None:
    """What does not fit; None where all does."""
    lines = came["err"].splitlines()
    errors = [line for line in lines if not re.match(CHATTER, line)]
    if expected.code == 1:
        errors = [line for line in errors if not re.match(PARTLY, line)]
    if expected.code in (0, 1):
        if errors:
            return f"neither a notice nor progress: {errors[0]!r}"
        heard = came["out"] + came["err"]
    else:
        if len(errors) != 1 or came["out"] or not re.match("Error: |Stopped; ", errors[0]):
            return "not exactly one line of error"
        heard = errors[0]
    for words in expected.says:
        if not re.search(words, heard, re.IGNORECASE):
            return f"{words!r} is not said"
    for words in expected.hides:
        if re.search(words, heard, re.IGNORECASE):
            return f"{words!r} is said"
    try:
        _check_files(expected, before, folder)
        if expected.check is not None:
            expected.check(folder)
    except AssertionError as error:
        return str(error)
    return None


def _check_files(expected: Expected, before: State, folder: Path) -> None:
    after = state_of(folder)
    tops = (*expected.writes, *expected.replaces)

    def is_output(name: str) -> bool:
        return any(name == top or name.startswith(f"{top}/") for top in tops)

    changed = {name for name in {*before, *after} if before.get(name) != after.get(name) and not is_output(name)}
    assert not changed, f"left behind, lost or changed: {sorted(changed)}"
    missing = [top for top in expected.writes if top not in after]
    assert not missing, f"not written: {missing}"
    kept = [name for name in expected.replaces if after.get(name) == before[name]]
    assert not kept, f"not replaced: {kept}"
    for name in tops:
        if name.endswith((".nrrd", ".nii", ".nii.gz", ".mha")):
            _check_image(folder / name, expected.grid)


def _check_image(path: Path, grid: Grid | None) -> None:
    with tempfile.TemporaryDirectory() as place:  # not every name that a file may have is one for SimpleITK
        suffix = ".nii.gz" if path.name.endswith(".gz") else path.suffix
        image = sitk.ReadImage(shutil.copy(path, Path(place) / f"image{suffix}"))
    array = sitk.GetArrayViewFromImage(image)
    assert np.isfinite(array).all() and array.min() >= 0 and array.max() > array.min(), f"{path.name}: no image"
    found = Grid.of(image)
    numbers = np.concatenate([np.asarray(part, float).ravel() for part in found])
    assert np.isfinite(numbers).all() and min(found.spacing) > 0, f"{path.name}: {found}"
    if grid is not None:
        assert found.size == grid.size, f"{path.name}: {found.size} instead of {grid.size} voxels"
        for one, other, what in zip(found[1:], grid[1:], Grid._fields[1:], strict=True):
            assert np.allclose(one, other, atol=2e-3), f"{path.name}: {what} {one} instead of {other}"


def table(*rows: tuple[Any, ...], **circumstances: Any) -> list[Case]:
    """Cases of rows (name, arrange, call, expected...)."""
    return [Case(name, arrange, call, tuple(expected), dict(circumstances)) for name, arrange, call, *expected in rows]


def under(case: Case, **circumstances: Any) -> Case:
    """The same case in other circumstances."""
    return replace(case, circumstances={**case.circumstances, **circumstances})
