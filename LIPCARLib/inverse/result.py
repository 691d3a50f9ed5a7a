"""What comes out of a reconstruction: its arrays and records, put together as they come and looked at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import LIPCARError
from ..imaging import Examination

if TYPE_CHECKING:  # a panel looks at results without torch
    from .session import Model


@dataclass(frozen=True)
class Volumes:
    """The arrays of a :class:`Result`, filled slice by slice while it is computed.

    >>> Volumes.empty((2, 8, 8), data_consistency=False).prior.shape
    (2, 8, 8)
    """

    highdose: np.ndarray
    prior: np.ndarray
    data_consistency: np.ndarray | None

    @classmethod
    def empty(cls, shape: tuple[int, ...], data_consistency: bool) -> Volumes:
        """Of that shape, (S, H, W) float32, with any values."""
        highdose, prior = (np.empty(shape, np.float32) for _ in range(2))
        return cls(highdose, prior, np.empty(shape, np.float32) if data_consistency else None)


@dataclass(frozen=True)
class Records:
    """What is told by slice; see :class:`Result`.

    >>> Records([[2.0, 1.0]], [0.1], [2], []).network_evaluations
    [2]
    """

    objective: list[list[float]]
    residual_rms: list[float]
    network_evaluations: list[int]
    unexplained: list[float]


@dataclass(frozen=True)
class Result(Records, Volumes):
    """What came out. Arrays are (S, H, W) float32 like `Examination.lowdose`, in its intensity units.

    Attributes:
        highdose: the simulated high-dose volume, non-negative.
        prior: the model's own guess xbar.
        data_consistency: F(x) - x_L at the result, noise floor included; None where it was not asked for.
        objective: per slice, its value at the start and after every step.
        residual_rms: per slice, the root mean square of F(x) - x_L at the result, in model scale.
        network_evaluations: per slice, evaluations of the forward operator by the solver.
        unexplained: per slice, the share of the body where F(x) is not x_L (see `consistency.unexplained`); empty where
            F is a network.
        seconds: wall-clock time of the computation.
        provenance: how it was made; plain values, ready for a report or an image header.
        notices: what was assumed for want of a word, as sentences for the user.

    >>> volume = np.zeros((1, 8, 8), np.float32)
    >>> made = {"alpha": 0.006}
    >>> result = Result(volume, volume, None, [[2.0, 1.0]], [0.1], [2], [], seconds=0.5, provenance=made)
    >>> len(result.objective[0]) == result.network_evaluations[0]
    True
    """

    seconds: float
    provenance: dict[str, Any]
    notices: tuple[str, ...] = ()


def assembled(
    examination: Examination,
    volumes: Volumes,
    records: list[Records],
    seconds: float,
    provenance: dict[str, Any],
    notices: tuple[str, ...],
) -> Result:
    """All slices as one result, whose arrays are the volumes; 0 where nothing was measured.

    Args:
        records: of all slices, in their order.

    >>> import SimpleITK
    >>> image = np.arange(512, dtype=np.float32).reshape(2, 16, 16)
    >>> half = Records([[1.0]], [0.1], [1], [])
    >>> examination = Examination.from_images(SimpleITK.GetImageFromArray(image))
    >>> assembled(examination, Volumes(image, image, None), [half, half], 0.5, {}, ()).residual_rms
    [0.1, 0.1]
    """
    if examination.padding is not None:
        volumes.highdose[examination.padding] = volumes.prior[examination.padding] = 0
    return Result(
        **vars(volumes),
        objective=[values for some in records for values in some.objective],
        residual_rms=[value for some in records for value in some.residual_rms],
        network_evaluations=[count for some in records for count in some.network_evaluations],
        unexplained=[value for some in records for value in some.unexplained],
        seconds=seconds,
        provenance=provenance,
        notices=notices,
    )


def finite(result: Result, model: Model) -> Result:
    """The result itself; the one place where every number of it is looked at.

    Raises:
        LIPCARError: one of them is NaN or infinite.

    >>> from LIPCARLib.inverse import load_model
    >>> volume = np.full((1, 8, 8), np.nan, np.float32)
    >>> finite(  # doctest: +ELLIPSIS
    ...     Result(volume, volume, None, [[1.0]], [0.1], [1], [], 0.5, {}), load_model("signal")
    ... )
    Traceback (most recent call last):
    LIPCARLib.errors.LIPCARError: ...
    """
    parts = {"image": result.highdose, "prior": result.prior, "data consistency": result.data_consistency}
    parts["record of the solver"] = np.array([*chain(*result.objective), *result.residual_rms, *result.unexplained])
    for name, values in parts.items():
        bad = 0 if values is None else values.size - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            raise LIPCARError(
                f"The {name} that the model '{model.name}' gives has {bad} values that are NaN or infinite, and is no "
                "result. Check that both images are in like units, and the model with `lipcar models verify`."
            )
    return result
