"""Scoring on this machine: one process a core."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import pyarrow as pa

from flowers.errors import FlowersError, WorldError
from flowers.scoring import sources, stores
from flowers.scoring.plan import RETRIES, Photo, Plan, cores, pieces
from flowers.scoring.rows import Scorer, unanswered

AHEAD = 4  # pieces of work a worker that are under way or done before their turn
READERS = 16  # photos that a worker fetches from a store at the same time


@dataclass
class _Task:
    """A piece of work, under way or done; `suspect` since a worker died that may have had it."""

    photos: list[Photo]
    future: Future | None = None
    suspect: bool = False
    deaths: int = 0  # of workers that had nothing else

    @property
    def is_done(self) -> bool:
        return self.future is not None and self.future.done() and not self.future.exception()


def run(plan: Plan, wanted: Iterable[Photo], say: Callable[[str], None]) -> Iterator[pa.Table]:
    """Rows of the photos, in their order.

    Processes and not threads, since decoding holds the interpreter; started afresh (spawn), since
    runtimes do not survive a fork. A worker that dies is replaced and its work done again: what it
    may have died of is done by itself then, in halves, until one photo is left. A photo of which a
    worker dies four times gets a row that says so.

    Args:
        plan: the model and how much at once.
        wanted: the photos.
        say: takes a line for people.

    Raises:
        WorldError: workers died of three photos one after the other, or the disk or a store fails.
        InputError: the model cannot be opened.
    """
    source = pieces(wanted, plan.batch)
    workers = plan.workers or cores()
    waiting: deque[_Task] = deque()
    blamed: list[str] = []
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
                say("A worker process ended; its photos are scored again.")
                if (task := _lost(waiting)) is not None:
                    blamed.append(task.photos[0][1])
                    _require_life(blamed)
                    task.future, task.suspect = _without(plan, task.photos[0]), False
                pool = _pool(workers)
                continue
            if waiting.popleft().suspect:
                blamed.clear()
            yield table
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)


def _submit(pool: ProcessPoolExecutor, plan: Plan, waiting: Iterable[_Task]) -> None:
    """Hands out all there is; while there are suspects, the first of them alone."""
    open_tasks = [task for task in waiting if not task.is_done]
    suspects = [task for task in open_tasks if task.suspect]
    for task in suspects[:1] or open_tasks:
        if task.future is None:
            task.future = pool.submit(_score, plan, task.photos)


def _lost(waiting: deque[_Task]) -> _Task | None:
    """After a death, makes suspects of what was under way; the task whose one photo is to blame.

    What was under way by itself is to blame: it is halved, and a single photo tried again.
    """
    lost = [task for task in waiting if task.future is not None and not task.is_done]
    for task in lost:
        task.future, task.suspect = None, True
    if len(lost) != 1:
        return None
    (task,) = lost
    task.deaths += 1
    if len(task.photos) > 1:
        half, place = len(task.photos) // 2, waiting.index(task)
        waiting.remove(task)
        for photos in (task.photos[half:], task.photos[:half]):
            waiting.insert(place, _Task(photos, suspect=True))
        return None
    return task if task.deaths > RETRIES else None


def _require_life(blamed: Sequence[str]) -> None:
    """Raises WorldError where workers die of one photo after the other: then it is not they."""
    if len(blamed) >= RETRIES:
        raise WorldError(
            "workers that stay alive",
            f"they ended {RETRIES + 1} times over each of {', '.join(blamed)}",
            "If memory ran out, use a smaller --batch or another machine; finished shards are "
            "kept, and the same command goes on from there.",
        )


def _without(plan: Plan, photo: Photo) -> Future:
    """The row of a photo that workers die of, as if one had given it."""
    future: Future = Future()
    future.set_result(unanswered(photo, "a photo that ends the process that reads it", plan.model))
    return future


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
