"""The engine in a process of its own: the same voxels, the same errors, and what happens when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from LIPCARLib.engine import Answer, Asked, Child, NotStartedError, enhance
from LIPCARLib.engine.messages import Message
from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import Progress, complete

ROOT = Path(__file__).resolve().parents[2]


def untimed(answer: Answer) -> Answer:
    return replace(answer, result=replace(answer.result, seconds=0.0))


def test_the_result_is_the_same_bit_for_bit(
    child: Child, examination: Examination, asked: Asked, bits: Callable[[Any], Any]
) -> None:
    told: list[Progress | None] = []
    found = complete(child.enhance(examination, asked), told.append)
    seen: list[Progress] = []
    expected = complete(enhance(examination, asked), seen.append)
    assert bits(untimed(found)) == bits(untimed(expected))
    assert type(found.result.notices) is tuple and found.metrics and found.evidence and found.verdict
    steps = [one for one in told if one is not None]
    assert len(steps) == len(seen) and steps[0].device == seen[0].device
    assert (steps[0].fraction, steps[-1].fraction) == (0.0, 1.0)  # which of the lanes is ahead is chance


def test_devices_and_errors_are_those_of_the_engine(child: Child, examination: Examination, asked: Asked) -> None:
    from LIPCARLib.inverse import available_devices

    number = child.number
    assert [name for name, _words in complete(child.devices())] == [name for name, _words in available_devices()]
    for change in ({"device": "abacus"}, {"alpha": -1.0}, {"iterations": 0}, {"model": "no-such-model"}):
        wrong = replace(asked, **change)
        with pytest.raises(LIPCARError) as expected:
            complete(enhance(examination, wrong))
        with pytest.raises(LIPCARError) as found:
            complete(child.enhance(examination, wrong))
        assert str(found.value) == str(expected.value)
    with pytest.raises(LIPCARError, match="no job 'exec'"):
        complete(child.run(Message("exec")))
    with pytest.raises(LIPCARError, match="no examination"):
        complete(child.enhance(replace(examination, predose=examination.lowdose[:1]), asked))
    assert child.number == number


def test_a_cancel_leaves_the_process_to_the_next_run(child: Child, examination: Examination, asked: Asked) -> None:
    number, steps = child.number, child.enhance(examination, replace(asked, iterations=200))
    while next(steps) is None:
        pass
    steps.close()
    assert len(complete(child.enhance(examination, asked)).result.highdose) == 3 and child.number == number


def test_a_process_that_is_killed_gives_one_error_and_another_one(
    child: Child, examination: Examination, asked: Asked
) -> None:
    steps, number = child.enhance(examination, replace(asked, iterations=200)), child.number
    while next(steps) is None:
        pass
    assert number is not None
    os.kill(number, getattr(signal, "SIGKILL", signal.SIGTERM))
    with pytest.raises(LIPCARError, match="ended .* during the computation. Nothing was changed"):
        complete(steps)
    assert child.number is None
    assert complete(child.devices()) and child.number not in (None, number)


@pytest.mark.skipif(sys.platform == "win32", reason="no process outlives its end there")
def test_a_process_that_is_killed_is_forgotten_by_the_system(child: Child) -> None:
    complete(child.devices())
    number = child.number
    assert number is not None
    os.kill(number, signal.SIGKILL)
    until = time.monotonic() + 20
    with pytest.raises(ProcessLookupError):  # nobody asks the child
        while time.monotonic() < until:
            os.kill(number, 0)
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("python", "message"),
    [
        (["no-such-python"], "No process can be started by no-such-python"),
        ([sys.executable, "-c", "import sys; sys.exit('no numpy here')"], "does not start.*no numpy here"),
    ],
)
def test_an_interpreter_that_cannot_do_it(python: list[str], message: str) -> None:
    child = Child(python, slot=0.01)
    with pytest.raises(NotStartedError, match=message):
        complete(child.devices())
    assert child.number is None


@pytest.mark.skipif(sys.platform == "win32", reason="looks for the process as POSIX does")
def test_it_ends_with_its_parent() -> None:
    code = (
        "import sys, time; from LIPCARLib.engine import Child; child = Child(); child.start()\n"
        "print(child.number, flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        parent.kill()
    for _turn in range(3000):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError("it is still there")
