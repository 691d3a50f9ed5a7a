"""What is kept of an evaluated subject: its scores as JSON, and one slice of every method as an image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import LIPCARError
from ..imaging import read_image, write_files
from ..json_file import parse_json, read_file
from ..learning import Subject
from ..simulation import Tissue
from .lesion_scores import LesionScore, ReadingScore
from .slice_scores import HIGHDOSE, Score

ENHANCEMENT_PERCENTILE = 99.9
LARGEST_RECORD = 2**28
"""Bytes. A thousand slices have a tenth of it."""


@dataclass(frozen=True)
class SubjectResult:
    """All scores of a subject, and the slice that was kept of it (None: none was)."""

    subject: str
    scores: list[Score]
    lesions: list[LesionScore]
    readings: list[ReadingScore]
    example: int | None


def write_record(path: Path, result: SubjectResult, digest: str) -> None:
    """Write a subject's result with the digest of the experiment that gave it."""
    content = {"settings": digest, **asdict(result)}
    write_files({path: json.dumps(content, allow_nan=False).encode()})


def read_record(path: Path, digest: str) -> SubjectResult | None:
    """What :func:`write_record` wrote; None where there is none, or one of another experiment or version."""
    try:
        content: dict[str, Any] = parse_json(read_file(path, LARGEST_RECORD))
        if content["settings"] != digest:
            return None
        return SubjectResult(
            content["subject"],
            [Score(**row) for row in content["scores"]],
            [LesionScore(**row) for row in content["lesions"]],
            [ReadingScore(**row) for row in content["readings"]],
            content["example"],
        )
    except (OSError, ValueError, KeyError, TypeError):  # not there, cut short, or of another version
        return None


def example_slice(subject: Subject) -> int | None:
    """The slice with most tumor; without labels, the one that changes most; None where there is no tumor."""
    if subject.labels is not None:
        counts = np.equal(subject.labels, Tissue.TUMOR).sum((1, 2))
        return int(counts.argmax()) if counts.any() else None
    change = subject.highdose - subject.examination.lowdose
    return int(np.percentile(change, ENHANCEMENT_PERCENTILE, axis=(1, 2)).argmax())


def write_example(path: Path, subject: Subject, images: Mapping[str, np.ndarray], index: int) -> None:
    """One slice of every image, then the high-dose image and the tumor's mask, as the slices of one volume."""
    layers = {**images, HIGHDOSE: subject.highdose}
    planes = [image[index] / np.float32(subject.examination.scale) for image in layers.values()]
    tumor = np.zeros_like(planes[0]) if subject.labels is None else np.equal(subject.labels[index], Tissue.TUMOR)
    stack = sitk.GetImageFromArray(np.stack([*planes, tumor.astype(np.float32)]))
    write_files({path: stack})


def read_example(path: Path, result: SubjectResult) -> dict[str, np.ndarray] | None:
    """What was kept of a subject: (H, W) images in model scale by method, "high-dose", and "tumor" (0 or 1).

    None where the file is gone or damaged.
    """
    methods = dict.fromkeys(row.method for row in result.scores if row.method != HIGHDOSE)
    try:
        layers = sitk.GetArrayFromImage(read_image(path))
        return dict(zip((*methods, HIGHDOSE, "tumor"), layers, strict=True))
    except (LIPCARError, ValueError):
        return None
