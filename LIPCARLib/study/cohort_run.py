"""The experiment on a cohort, subject by subject: resumable, and a broken subject does not stop the others."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..errors import LIPCARError
from ..inverse import Progress
from ..learning import Subject, read_parameters, read_subject
from .experiment import Experiment, compute_images
from .lesion_scores import score_lesions
from .records import SubjectResult, example_slice, read_record, write_example, write_record
from .slice_scores import score_slices

EXAMPLES = 6
"""Subjects of which a slice is kept for the figure."""


@dataclass(frozen=True)
class Failure:
    """A subject that could not be evaluated, and why."""

    subject: str
    reason: str


def run_experiment(
    experiment: Experiment, folders: Sequence[Path], output: Path | None = None
) -> Iterator[SubjectResult | Failure | Progress]:
    """Evaluate the subjects of a cohort one by one, yielding progress and results.

    Each subject's scores are written to OUTPUT/subjects/<name>.json when they are complete; a subject whose file is
    there and was made with the same settings is read instead. A subject that cannot be evaluated is reported and
    tried again next time.

    Args:
        folders: of the subjects.
        output: created if missing; None writes nothing.
    """
    kept = 0
    for folder, other in zip(folders, [*folders[1:], *folders[:1]], strict=True):
        record = None if output is None else output / "subjects" / f"{folder.name}.json"
        result = None if record is None else read_record(record, experiment.digest)
        if result is None:
            examples = output / "examples" if output is not None and kept < EXAMPLES else None
            try:
                result = yield from evaluate_subject(experiment, folder, other, examples)
            except LIPCARError as error:
                yield Failure(folder.name, str(error))
                continue
            if record is not None:
                write_record(record, result, experiment.digest)
        kept += result.example is not None
        yield result


def evaluate_subject(
    experiment: Experiment, folder: Path, other: Path, examples: Path | None
) -> Generator[Progress, None, SubjectResult]:
    """Read one subject, compute every method's image, score them all.

    Args:
        folder: of the subject.
        other: of another subject, for a disturbance that mixes two up.
        examples: folder for one slice of every method; None keeps none.

    Raises:
        LIPCARError: the subject cannot be read, disturbed or reconstructed.
    """
    subject = _read(experiment, folder, other, match_predose=True)
    unmatched = None
    if "as-is" in experiment.methods:
        unmatched = _read(experiment, folder, other, match_predose=False).examination
    images = yield from compute_images(experiment, subject, _dose_fraction(experiment, folder), unmatched)
    shown = None if examples is None else example_slice(subject)
    if examples is not None and shown is not None:
        write_example(examples / f"{subject.name}.nrrd", subject, images, shown)
    return SubjectResult(subject.name, score_slices(subject, images), *score_lesions(subject, images), shown)


def _read(experiment: Experiment, folder: Path, other: Path, match_predose: bool) -> Subject:
    if experiment.disturbance is None:
        subject = read_subject(folder, match_predose=match_predose)
    else:
        stranger = partial(read_subject, other, match_predose=False)
        subject = experiment.disturbance.apply(read_subject(folder, match_predose=False), stranger, match_predose)
    if experiment.tell_acquisition:
        return subject
    return replace(subject, examination=replace(subject.examination, acquisition=None))


def _dose_fraction(experiment: Experiment, folder: Path) -> float | None:
    if experiment.dose_fraction is not None:
        return experiment.dose_fraction
    fraction = (read_parameters(folder) or {}).get("dose_fraction")
    return None if fraction is None else float(fraction)
