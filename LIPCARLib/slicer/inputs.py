"""The chosen volumes: which of them are proposed, and their examination, checked once in the background and kept."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from ..errors import LIPCARError
from .background import waited
from .request import Request
from .services import Job, Worker

if TYPE_CHECKING:
    from ..imaging import Examination


def proposed_inputs(volumes: list[Any]) -> dict[str, Any]:
    """Inputs by their role, where the names of the volumes leave no doubt; results of LIPCAR are never proposed."""
    proposed = {}
    for role in ("predose", "lowdose", "highdose"):
        found = [volume for volume in volumes if role in "".join(filter(str.isalnum, volume.GetName().lower()))]
        found = [volume for volume in found if volume.GetAttribute("LIPCAR.model") is None]
        if len(found) == 1:
            proposed[role] = found[0]
    return proposed


class CheckedInputs:
    """The examination of some volumes, computed once and kept until one of them changes."""

    def __init__(self, worker: Callable[[], Worker], slot_seconds: float) -> None:
        self._make_worker = worker
        self._slot_seconds = slot_seconds
        self._worker: Worker | None = None
        self._key: list[Any] | None = None
        self._job: Job[Examination] | None = None

    def examined(self, request: Request) -> Generator[None, None, Examination]:
        """The examination of a request's volumes, as they are now; whoever asks for the same shares one computation.

        The voxels are copied here and now, before the first turn of the event loop. Raises LIPCARError at the end
        where the volumes do not fit.
        """
        key = [request.match_predose, *(state_of(volume) for volume in request.volumes.values())]
        if self._job is None or self._key != key:
            from .mrml import examination_job

            self.forget()  # two examinations at once may be gigabytes
            work = examination_job(request)
            self._worker = self._make_worker()
            self._key, self._job = key, self._worker.submit(work)
        return self._waited(self._job)

    def _waited(self, job: Job[Examination]) -> Generator[None, None, Examination]:
        try:
            return (yield from waited(job, self._slot_seconds))
        except LIPCARError:
            raise  # of the volumes: the same until they change
        except Exception:
            if job is self._job:  # of the moment, as too little memory: next time it may come out otherwise
                self.forget()
            raise

    def forget(self) -> None:
        """Give back the memory."""
        if self._worker is not None:
            self._worker.close()
        self._worker = self._key = self._job = None


def state_of(volume: Any) -> list[Any] | None:
    """Something that differs once the volume, its voxels or a transform above it has changed."""
    if volume is None:
        return None
    from .geometry import ijk_to_ras

    voxels = volume.GetImageData()
    state = [volume.GetID(), volume.GetName(), ijk_to_ras(volume).tolist(), voxels, voxels and voxels.GetMTime()]
    transform = volume.GetParentTransformNode()
    while transform is not None:
        state += [transform.GetID(), transform.GetMTime(), transform.GetTransformToParent().GetMTime()]
        transform = transform.GetParentTransformNode()
    return state
