"""How far off a result is, and what the verdict says of it, under disturbances of known size: docs/verdicts.md.

Simulated subjects (of `lipcar phantom`) and real pairs (as of `real_heads.py`) are disturbed step by step. The error is
that of the default model, told what a header tells, against the noise-free truth, over the same subject's error
undisturbed: in the body, and in what enhances. Medians over subjects, and how many got which verdict.

    lipcar phantom COHORT --subjects 6 --slices 1 --size 160 --seed 4712
    python Testing/benchmarks/verdicts.py --cohort COHORT
    python Testing/benchmarks/verdicts.py --pairs FOLDER ... --slices 1 --from 1 --every 2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import real_heads
import torch
from scipy.ndimage import gaussian_filter, map_coordinates, shift

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination
from LIPCARLib.imaging.intensity import foreground
from LIPCARLib.inverse import complete, default_model, load_model, reconstruct
from LIPCARLib.learning import Subject, read_subject, subject_folders
from LIPCARLib.learning.cohort import read_parameters
from LIPCARLib.physics import Acquisition, PulseSequence
from LIPCARLib.study import Disturbance
from LIPCARLib.trust import GREEN, LOOK, STOP, judge

BODY, ENHANCING = 0.1, 0.15
"""Model scale: what is brighter before the agent is body, what rises by more enhances."""
LEAST = 30
"""Pixels that enhance, for an error there."""
LAWS = (
    Acquisition(PulseSequence.SPIN_ECHO, repetition_time=0.5),
    Acquisition(PulseSequence.GRADIENT_ECHO, repetition_time=0.006, flip_angle=15.0),
)


@dataclass(frozen=True)
class Case:
    """A subject, not matched; what was told of it, the truth, and where the matching is asked for."""

    subject: Subject
    fraction: float | None
    truth: np.ndarray
    match: bool = True

    def examination(self, **changed: Any) -> Examination:
        e = self.subject.examination
        low, pre = (np.asarray(changed.get(role, getattr(e, role)), np.float32) for role in ("lowdose", "predose"))
        images = [e.to_image(low)] if changed.get("predose", 0) is None else [e.to_image(low), e.to_image(pre)]
        law = changed.get("acquisition", e.acquisition)
        match = changed.get("match", True)
        return Examination.from_images(*images, slice_axis=e.slice_axis, match_predose=match, acquisition=law)


Made = tuple[Examination, float | None, np.ndarray]
Make = Callable[[], Made]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path)
    parser.add_argument("--pairs", type=Path, nargs="*", default=[])
    parser.add_argument("--slices", type=int, default=3, help="of each real pair (default 3)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first subject that is taken")
    parser.add_argument("--every", type=int, default=1, help="how many are gone on by")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = [] if arguments.cohort is None else [*simulated(arguments.cohort)]
    cases += real(arguments.pairs, arguments.slices)
    rows: dict[tuple[str, str], list[tuple[float, float | None, str]]] = {}
    for index in range(arguments.first, len(cases), arguments.every):
        usual: tuple[float, float | None] | None = None
        for name, level, make in disturbed(cases[index], cases[index + 1 :] + cases[:index]):
            try:
                errors, verdict = outcome(cases[index], *make())
            except LIPCARError:
                rows.setdefault((name, level), []).append((np.nan, None, "refused"))
                continue
            usual = usual or errors
            enhancing = errors[1] / usual[1] if errors[1] and usual[1] else None
            rows.setdefault((name, level), []).append((errors[0] / usual[0], enhancing, verdict))
        print(f"<!-- {cases[index].subject.name} done -->", flush=True)
    print(table(rows))


def simulated(cohort: Path) -> Iterator[Case]:
    for folder in subject_folders(cohort):
        subject = read_subject(folder, match_predose=False)
        yield Case(subject, (read_parameters(folder) or {}).get("dose_fraction"), subject.truth)


def real(folders: list[Path], slices: int) -> Iterator[Case]:
    told = argparse.Namespace(folders=folders, slices=slices, settled=False, fraction=0.2, noise=0.015, seed=0)
    for case in real_heads.cases(told):
        truth, e = case.truth.astype(np.float32), case.examination
        images = (e.to_image(image) for image in (e.lowdose, e.predose, truth))
        raw = Examination.from_images(*images, slice_axis=2, match_predose=False, acquisition=e.acquisition)
        yield Case(Subject(f"{case.name} {case.law}", raw, None, truth, None), told.fraction, truth)


def outcome(
    case: Case, e: Examination, fraction: float | None, truth: np.ndarray
) -> tuple[tuple[float, float | None], str]:
    model = load_model(default_model(e.predose is not None, e.predose_doubtful))
    told = fraction if model.uses_predose else None
    result = complete(reconstruct(e, model, device="cpu", dose_fraction=told))
    scale = case.subject.examination.scale
    error, before = (
        (result.highdose - truth) / scale,
        gaussian_filter(case.subject.examination.predose, (0, 1, 1)) / scale,
    )
    body = before > BODY
    rises = body & (truth / scale - before > ENHANCING)
    enhancing = rms(error[rises]) if np.count_nonzero(rises) > LEAST else None
    return (rms(error[body]), enhancing), judge(e, result).level


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def disturbed(case: Case, others: list[Case]) -> Iterator[tuple[str, str, Make]]:
    """What is done, how much of it, and what makes it."""
    s, e, f, truth = case.subject, case.subject.examination, case.fraction, case.truth
    low, pre, rng = e.lowdose, e.predose, np.random.default_rng(1)

    def made(**changed: Any) -> Make:
        return lambda: (case.examination(**changed), changed.get("fraction", f), truth)

    def study(kind: str, level: float) -> Make:
        def make() -> Made:
            found = Disturbance(kind, level).apply(s, lambda: s)
            return found.examination, f, found.truth

        return make

    yield "none", "", made()
    for level in (0.025, 0.05, 0.1, 0.2):
        yield "noise added (model scale)", f"{level:g}", study("noise", level)
    yield "all images at half the resolution, shaded", "", study("scanner", 1.0)
    for width in (0.7, 1.5, 3.0):
        yield "low-dose image blurred (pixels)", f"{width:g}", made(lowdose=gaussian_filter(low, (0, width, width)))
    for size in (1, 2, 4, 8):
        yield "pre-dose image deformed (pixels)", f"{size}", made(predose=deformed(pre, size, rng))
    for size in (0.5, 1, 2, 4):
        moved = shift(pre, (0, size, size), order=1)
        yield "moved, matching off (pixels)", f"{size:g}", made(predose=moved, match=False)
    for gain in (0.8, 0.9, 1.1, 1.25):
        yield "gain of the pre-dose image, matching off", f"{gain:g}", made(predose=pre * gain, match=False)
    for gain in (0.75, 1.25):
        yield "gain, matched", f"{gain:g}", made(predose=pre * gain)
    for drift in (0.2, 0.5):
        field = np.exp(drift * np.linspace(-0.5, 0.5, low.shape[1]))[:, None]
        yield "gain that drifts across, matched", f"{drift:g}", made(predose=pre * field)
    for other in others:
        image = other.subject.examination.predose
        if image is not None and image.shape == low.shape and other.subject.name[:6] != s.name[:6] * ("head" in s.name):
            level = np.median(pre[foreground(pre)]) / np.median(image[foreground(image)])
            yield "pre-dose image of another patient", "", made(predose=image)
            yield "the same, matching off", "", made(predose=image * level, match=False)
            break
    yield "no pre-dose image", "", made(predose=None)
    noise = rng.normal(0, e.noise, (2, *low.shape))
    yield "no agent given", "", made(lowdose=np.hypot(pre + noise[0], noise[1]))
    for share in (0.5, 0.25):
        yield "dose given over dose told", f"{share:g}", study("dose", share)
    for share in (0.5, 2.0):
        yield "dose told over dose given", f"{share:g}", made(fraction=None if f is None else min(1.0, f * share))
    spin_echo = e.acquisition is not None and e.acquisition.sequence is PulseSequence.SPIN_ECHO
    yield "another sequence told", "", made(acquisition=LAWS[spin_echo])
    yield "sequence and dose not told", "", made(acquisition=None, fraction=None)


def deformed(volume: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Every slice bent by smooth displacements of so many pixels at most along either axis."""
    bent = np.empty_like(volume)
    for index, plane in enumerate(volume):
        fields = [gaussian_filter(rng.standard_normal(plane.shape), 16) for _ in range(2)]
        places = np.mgrid[: plane.shape[0], : plane.shape[1]] + [size * field / np.abs(field).max() for field in fields]
        bent[index] = map_coordinates(plane, places, order=1, mode="nearest")
    return bent


def table(rows: dict[tuple[str, str], list[tuple[float, float | None, str]]]) -> str:
    lines = [["disturbance", "level", "error in the body", "in what enhances", GREEN, LOOK, STOP], ["---"] * 7]
    for (name, level), found in rows.items():
        body = [one[0] for one in found if one[2] != "refused"]
        enhancing = [one[1] for one in found if one[1] is not None]
        ratios = [f"{np.median(values):.1f}" if values else "-" for values in (body, enhancing)]
        counts = [sum(one[2] == verdict for one in found) for verdict in (GREEN, LOOK, STOP)]
        refused = len(found) - sum(counts)
        last = f"{counts[2]}" + (f" (and {refused} refused)" if refused else "")
        lines.append([name, level, *ratios, str(counts[0]), str(counts[1]), last])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
