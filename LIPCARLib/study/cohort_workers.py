"""Who enhances a cohort: this process, several on this machine, or a Dask cluster of many; each task once."""

from __future__ import annotations

import logging
import os
import queue
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..errors import LIPCARError
from ..resources import THREADS, processors
from ..storage import others_write
from .cohort_enhancement import FAILED, CohortSettings, Outcome, Task, carry_out, done_before
from .cohort_inputs import Entry

if TYPE_CHECKING:
    from distributed import Client, Future

EXAMINATIONS = "examinations"
"""The folder of all examinations' results, in that of the cohort's."""
ARRIVAL = 120.0
"""Seconds to wait for a worker: at the start, and when all have gone."""
NO_WORKER = (
    "The Dask scheduler has no worker. Start some with `dask worker ADDRESS`, then give the same command again: what "
    "was finished is kept."
)


def enhance_cohort(
    entries: Sequence[Entry], root: Path, output: Path, settings: CohortSettings, client: Client | None = None
) -> Generator[Outcome, None, None]:
    """Enhance the examinations of a cohort that are not done; yields each as it is over, those that are done first.

    Args:
        entries: see `cohort_inputs.find_examinations`.
        root: what inputs are named from.
        output: of the cohort, a folder that the caller has claimed.
        settings: what is asked for.
        client: of :func:`dask_client`; None for this process.

    Raises:
        LIPCARError: the model cannot be loaded; the cluster is gone. What goes wrong with one examination is in its
            outcome.
    """
    digest = settings.digest()
    folder = Path(os.path.abspath(output)) / EXAMINATIONS
    folder.mkdir(exist_ok=True)
    waiting = []
    for entry in entries:
        task = Task(entry, settings, digest, root, folder / entry.folder)
        if entry.problem is not None:
            yield Outcome(entry, FAILED, entry.problem)
        elif done := done_before(task):
            yield done
        else:
            waiting.append(task)
    yield from map(carry_out, waiting) if client is None else _on_cluster(client, waiting)


@contextmanager
def dask_client(jobs: int, scheduler: str | None) -> Iterator[Client]:
    """A Dask cluster: of so many processes on this machine, or the one of a scheduler that is running.

    Args:
        jobs: processes; they share this machine's processors.
        scheduler: address, as tcp://host:8786; TLS is as Dask's own configuration says.

    Raises:
        LIPCARError: Dask is not installed, nothing answers there, or there is no worker.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise LIPCARError("Several processes need Dask: install it with `pip install lipcar[cohort]`.") from error
    for name in ("distributed", "distributed.client", "distributed.worker", "distributed.nanny", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is in outcomes and errors
    if scheduler is None:
        environment = dict.fromkeys(THREADS, str(max(1, processors() // jobs)))
        environment["DASK_LOGGING__DISTRIBUTED"] = "critical"
        with (
            TemporaryDirectory(prefix="lipcar-", ignore_cleanup_errors=True) as scratch,
            dask.config.set({"temporary-directory": scratch, "distributed.nanny.pre-spawn-environ": environment}),
            # Whole images are in memory at times; what Dask thinks a worker's share is, is no reason to end it.
            LocalCluster(
                n_workers=jobs, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=None
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=20)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise LIPCARError(
            f"No Dask scheduler answers at '{scheduler}' ({error or type(error).__name__}). Start one with `dask "
            "scheduler`, and workers with `dask worker ADDRESS`."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=ARRIVAL)
        except TimeoutError as error:
            raise LIPCARError(NO_WORKER) from error
        yield client


def _on_cluster(client: Client, tasks: Iterable[Task]) -> Iterator[Outcome]:
    """Each outcome as it comes; a task whose worker is gone is given to another one by the scheduler."""
    over: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    sent: dict[Any, tuple[Task, Any]] = {}
    others_write()
    for task in tasks:
        future = client.submit(carry_out, task, pure=False)
        sent[future.key] = task, future
        future.add_done_callback(over.put)
    try:
        last_seen = time.monotonic()
        while sent:
            try:
                future = over.get(timeout=1)
            except queue.Empty:
                if _workers(client):
                    last_seen = time.monotonic()
                elif time.monotonic() - last_seen > ARRIVAL:
                    raise LIPCARError(NO_WORKER) from None
                continue
            if future.status not in ("finished", "error"):
                raise LIPCARError(
                    "The Dask scheduler is gone, or took the work away. Give the same command again, with a scheduler "
                    "that runs: what was finished is kept."
                )
            yield _outcome(*sent.pop(future.key))
    finally:
        client.cancel([future for _, future in sent.values()])


def _workers(client: Client) -> int:
    if client.status != "running":
        return 0
    return len(client.scheduler_info(n_workers=-1)["workers"])


def _outcome(task: Task, future: Future[Any]) -> Outcome:
    error = future.exception()
    if error is not None:
        killed = type(error).__name__ == "KilledWorker"
        reason = "every worker that tried it was killed; there may be too little memory." if killed else str(error)
        return Outcome(task.entry, FAILED, " ".join(reason.split()))
    outcome: Outcome = future.result()
    if outcome.state != FAILED and done_before(task) is None:
        reason = "its worker has written somewhere else: workers need the same folders by the same names."
        return Outcome(task.entry, FAILED, reason)
    return outcome
