"""Scoring on this machine: one process a core."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import pyarrow as pa

from flowers.errors import FlowersError, WorldError
from flowers.scoring import sources, stores
from flowers.scoring.plan import RETRIES, Photo, Plan, cores, pieces
from flowers.scoring.rows import Scorer

AHEAD = 4  # pieces of work a worker that are under way or done before their turn
READERS = 16  # photos that a worker fetches from a store at the same time


@dataclass
class _Task:
    """A piece of work, under way or done."""

    photos: list[Photo]
    future: Future | None = None
    attempts: int = 0

    @property
    def is_done(self) -> bool:
        return self.future is not None and self.future.done() and not self.future.exception()


def run(plan: Plan, wanted: Iterable[Photo], say: Callable[[str], None]) -> Iterator[pa.Table]:
    """Rows of the photos, in their order.

    Processes and not threads, since decoding holds the interpreter; started afresh (spawn), since
    runtimes do not survive a fork. A worker that dies is replaced and its work done again.

    Args:
        plan: the model and how much at once.
        wanted: the photos.
        say: takes a line for people.

    Raises:
        WorldError: a worker died more than three times over the same photos, or the disk or a
            store fails.
        InputError: the model cannot be opened.
    """
    source = pieces(wanted, plan.batch)
    workers = plan.workers or cores()
    waiting: deque[_Task] = deque()
    pool = _pool(workers)
    try:
        while True:
            while len(waiting) < AHEAD * workers and (piece := next(source, None)):
                waiting.append(_Task(piece))
            if not waiting:
                return
            try:
                _submit(pool, plan, waiting)
                table = waiting[0].future.result()
            except BrokenProcessPool:
                pool.shutdown(wait=True)
                _count_deaths(waiting, say)
                pool = _pool(workers)
                continue
            waiting.popleft()
            yield table
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)


def _submit(pool: ProcessPoolExecutor, plan: Plan, waiting: Iterable[_Task]) -> None:
    for task in waiting:
        if task.future is None:
            task.future = pool.submit(_score, plan, task.photos)


def _count_deaths(waiting: Iterable[_Task], say: Callable[[str], None]) -> None:
    """Marks what was lost with a worker to be done again; gives up where that happens often."""
    lost = [task for task in waiting if not task.is_done]
    for task in lost:
        task.future = None
        task.attempts += 1
        if task.attempts > RETRIES:
            raise WorldError(
                "workers that stay alive",
                f"one ended {task.attempts} times over the photos {task.photos[0][1]} to "
                f"{task.photos[-1][1]}",
                "If memory ran out, use fewer --workers or a smaller --batch; finished shards "
                "are kept, and the same command goes on from there.",
            )
    say("A worker process ended; its photos are scored again.")


# --- in the worker ---------------------------------------------------------------------------


def _begin() -> None:
    """Ctrl-C is for the parent, which stops the workers; without it they end by themselves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _score(plan: Plan, photos: list[Photo]) -> pa.Table:
    scorer = _scorer(plan)
    remote = any(stores.is_uri(path) for _, path in photos)
    return scorer.rows(photos, _fetched(scorer, photos) if remote else None)


@functools.lru_cache(maxsize=1)  # opened by a worker's first piece of work
def _scorer(plan: Plan) -> Scorer:
    return Scorer.load(plan.model, plan.views, threads=1, roots=dict(plan.roots))


def _fetched(scorer: Scorer, photos: list[Photo]) -> Iterator[bytes | None]:
    """The photos' bytes, some fetched ahead; None where that failed."""

    def fetch(path: str) -> bytes | None:
        try:
            return sources.read(path, scorer.roots)
        except FlowersError:
            return None  # it is read again in its turn, and the reason is told there

    paths = iter(path for _, path in photos)
    coming: deque[Future] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        try:
            for _ in photos:
                while len(coming) < READERS and (path := next(paths, None)) is not None:
                    coming.append(pool.submit(fetch, path))
                yield coming.popleft().result()
        finally:
            for future in coming:
                future.cancel()
