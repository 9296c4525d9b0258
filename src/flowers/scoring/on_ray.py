"""Scoring on Ray Data: on this machine, or on a cluster."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import signal
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import fsspec
import pyarrow as pa
import ray
import ray.data
from ray.util.annotations import RayDeprecationWarning

from flowers import files
from flowers.errors import FlowersError, InputError, WorldError
from flowers.scoring import local, sources
from flowers.scoring.local import AHEAD
from flowers.scoring.plan import RETRIES, Photo, Plan, cores, pieces
from flowers.scoring.rows import Scorer
from flowers.ship import card as cards

# Ray keeps a list of all files it is given, so it gets them in windows: what is held grows with
# the number of workers, not of photos. A window is about two minutes of work, its start some 3 s.
WINDOW = 4_000  # photos a worker
LEAST_WINDOW = 20_000  # photos
MOST_BLOCKS = 4_000  # pieces of a window: Ray's book-keeping takes about a millisecond for each
STORE = 200_000_000  # bytes of Ray's object store here, and 50 MB more a worker
READER = 0.2  # of a core: readers wait for disks and networks most of the time
REMOTE_READERS = 4  # a worker, where photos come from a store; one where they lie on a disk
# Readers wait for scorers, longer than the second after which Ray ends an idle process here; a new
# one takes seconds to start, which the scorers lack.
IDLE = 60_000  # ms
ATTEMPTS = 3  # to find the cluster, or to start one: on a busy machine Ray gives up after 30 s
_FOLDER = "photos"
_SIZE = 150_000  # bytes of a typical photo: Ray plans with it


def run(plan: Plan, wanted: Iterable[Photo], say: Callable[[str], None]) -> Iterator[pa.Table]:
    """Rows of the photos, in their order: read by Ray's readers, scored by a pool of actors.

    Nodes of a cluster need the same `flowers[ray]`, and must see the photos under the same paths;
    the model is sent to them.

    Args:
        plan: the model, how much at once, and the cluster's address.
        wanted: the photos.
        say: takes a line for people.

    Raises:
        WorldError: the cluster cannot be reached, its actors die of one photo after the other, or
            the disk or a store fails.
        InputError: the model cannot be opened.
    """
    with _ray(plan, say):
        workers = _workers(plan, say)
        card = cards.path_of(plan.model)
        model = ray.put({path.name: path.read_bytes() for path in (plan.model, card)})
        for window in pieces(wanted, max(LEAST_WINDOW, WINDOW * workers)):
            yield from _in_spite_of_deaths(
                plan, window, workers, lambda photos: _scored(plan, photos, workers, model), say
            )


def _in_spite_of_deaths(
    plan: Plan,
    window: Sequence[Photo],
    workers: int,
    score: Callable[[Sequence[Photo]], Iterator[pa.Table]],
    say: Callable[[str], None],
) -> Iterator[pa.Table]:
    """The rows of a window, in order; `score` is Ray's way to them.

    Ray tells that an actor has died again and again, and not of which photo. So what it was at is
    scored on this machine, where `local` finds the photo, and Ray goes on behind it.
    """
    rest, died = list(window), 0
    while rest:
        given = 0
        try:
            for rows in score(rest):
                given += len(rows)
                yield rows
            return
        except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
            died = 1 if given else died + 1
            if _ours(error) or died >= RETRIES:
                raise
        behind = given + AHEAD * workers * plan.batch
        here, rest = rest[given:behind], rest[behind:]
        say(f"A worker of Ray ended {RETRIES + 1} times; {len(here)} photos are scored here.")
        yield from local.run(replace(plan, workers=min(workers, cores())), here, say)


def _scored(
    plan: Plan, window: Sequence[Photo], workers: int, model: ray.ObjectRef
) -> Iterator[pa.Table]:
    """The rows of a window, in order."""
    here = str(Path.cwd())
    folder = _Photos(here, plan.roots)
    folder.names = [_named(number, path) for number, path in window]
    remote = any(sources.is_remote(path) for _, path in window)
    readers = workers * (REMOTE_READERS if remote else 1)
    read = ray.data.read_binary_files(
        _FOLDER,  # and not the names, of each of which Ray asks whether fsspec can do HTTP: 5 ms
        filesystem=folder,
        include_paths=True,
        override_num_blocks=min(MOST_BLOCKS, -(-len(window) // plan.batch)),
        num_cpus=READER * workers / readers,
        concurrency=readers,
    )
    with warnings.catch_warnings():
        # Ray 2.60 warns of the last two, and takes them in no other way.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        scored = read.map_batches(
            _Worker,
            fn_constructor_args=(model, plan.model.name, plan.views, here, plan.roots),
            batch_size=plan.batch,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1 - READER,
            max_restarts=RETRIES,
            max_task_retries=RETRIES,
        )
    yield from scored.iter_batches(batch_size=None, batch_format="pyarrow")


# --- on the nodes ----------------------------------------------------------------------------


class _Photos(fsspec.AbstractFileSystem):
    """The photos of a window as the files of one folder, which Ray lists and reads.

    Ray stops at a file that is missing, large or forbidden. Here such a file is empty, and the
    worker that finds it so reads the photo again and writes the reason into its row.
    """

    protocol = "flowers"
    cachable = False

    def __init__(self, here: str, roots: Sequence[tuple[str, str]], **options: object):
        super().__init__(**options)
        self.here, self.roots = here, dict(roots)
        self.names: Sequence[str] = ()  # not an argument, so that it is not sent to the nodes

    def info(self, path: str, **options: object) -> dict:
        """A file's kind and size; the sizes are all the same, so that nothing is asked for them."""
        if path.strip("/") == _FOLDER:
            return {"name": path, "type": "directory", "size": 0}
        return {"name": path, "type": "file", "size": _SIZE}

    def ls(self, path: str, detail: bool = True, **options: object) -> list:
        """The photos of the window."""
        return [self.info(name) for name in self.names] if detail else list(self.names)

    def open(self, path: str, mode: str = "rb", **options: object) -> io.BytesIO:
        """A photo's bytes, or none."""
        _, photo = _meant(path)
        try:
            return io.BytesIO(sources.read(sources.located(photo, self.here), self.roots))
        except FlowersError:
            return io.BytesIO()


class _Worker:
    """One model on one core."""

    def __init__(
        self,
        model: ray.ObjectRef,
        name: str,
        views: int,
        here: str,
        roots: Sequence[tuple[str, str]],
    ):
        with tempfile.TemporaryDirectory() as folder:  # the runtimes keep what they have opened
            for part, content in ray.get(model).items():
                files.write_bytes(Path(folder, part), content)
            opened = Scorer.load(Path(folder, name), views, threads=1, roots=dict(roots), here=here)
        self.scorer = opened

    def __call__(self, read: pa.Table) -> pa.Table:
        photos = [_meant(name) for name in read["path"].to_pylist()]
        return self.scorer.rows(photos, (content.as_py() for content in read["bytes"]))


def _named(number: int, path: str) -> str:
    """A photo's name in the folder: its place in the list, and any path or URI as plain letters.

    Ray sorts names, and unpacks a file whose name ends in .gz.
    """
    return f"{_FOLDER}/p{number:015}@{quote(os.fsencode(path), safe='')}@"


def _meant(name: str) -> Photo:
    """The photo of a name."""
    number, _, path = name.removeprefix(f"{_FOLDER}/p").removesuffix("@").partition("@")
    return int(number), os.fsdecode(unquote_to_bytes(path))


# --- the cluster -----------------------------------------------------------------------------


@contextlib.contextmanager
def _ray(plan: Plan, say: Callable[[str], None]) -> Iterator[None]:
    """Ray, started or found; what it raises in a form for people. Its SIGTERM handler is undone."""
    if ray.is_initialized():
        raise InputError("a process without Ray", "one in which it runs", "Call ray.shutdown().")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with _in_words(plan):
            _start(plan, say)
            with contextlib.suppress(ValueError):  # not in the main thread: Ray left it alone too
                signal.signal(signal.SIGTERM, handler)
            yield
    finally:
        ray.shutdown()


def _start(plan: Plan, say: Callable[[str], None]) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    # Ray's C++ warns of its own way of passing the model to actors; what matters is raised as well.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if plan.address:
        _require_answer(plan.address)
        settings: dict[str, Any] = {"address": plan.address}
    else:
        workers = plan.workers or cores()
        memory = STORE + workers * 50_000_000
        settings = {
            "address": "local",  # or Ray joins the cluster that RAY_ADDRESS or `ray start` left
            "num_cpus": workers,
            "object_store_memory": memory,
            "include_dashboard": False,
            "_system_config": {"idle_worker_killing_time_threshold_ms": IDLE},
        }
    for attempt in range(ATTEMPTS):
        try:
            ray.init(**settings, logging_level=logging.ERROR, log_to_driver=False)
            break
        except Exception:  # Ray raises plain ones
            ray.shutdown()
            if attempt + 1 == ATTEMPTS:
                raise
            say("Ray does not start: once more")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are raised, and put in words
    # of the last window, which may have fewer photos than there are workers for
    warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.data\.")
    say(f"Ray with {ray.cluster_resources().get('CPU', 0):g} cores")


def _workers(plan: Plan, say: Callable[[str], None]) -> int:
    """How many actors; in a cluster no more than cores are free, or the readers would find none."""
    if plan.address is None:
        return plan.workers or cores()
    free = max(1, int(ray.available_resources().get("CPU", 1)))
    if plan.workers and plan.workers > free:
        say(f"{free} workers instead of {plan.workers}: no more cores are free in the cluster")
    return min(plan.workers or free, free)


def _require_answer(address: str) -> None:
    """Knocks at the cluster's door before Ray does, which would wait for minutes.

    Raises:
        InputError: the address has another form.
        WorldError: nobody answers.
    """
    if address == "auto":
        return
    found = re.fullmatch(r"(?:ray://)?(?P<host>[^/:]+|\[[^]]+\]):(?P<port>\d+)", address)
    if found is None:
        raise InputError("HOST:PORT, ray://HOST:PORT or auto", address, "Correct --ray-address.")
    place = (found["host"].strip("[]"), int(found["port"]))
    for attempt in range(ATTEMPTS):
        try:
            socket.create_connection(place, timeout=5).close()
            return
        except OSError as error:
            if attempt + 1 == ATTEMPTS:
                raise _no_cluster(address, error.strerror or str(error)) from error
        time.sleep(2**attempt)


def _no_cluster(address: str | None, reason: str) -> WorldError:
    if address is None:
        remedy = "The machine may be too busy: try again later, or use --engine local."
        return WorldError("Ray to start on this machine", reason, remedy)
    remedy = (
        "Check --ray-address and `ray status` there; a cluster with tokens wants "
        "RAY_AUTH_MODE=token here as well. Without --ray-address Ray starts on this machine."
    )
    return WorldError(f"a Ray cluster at {address}", reason, remedy)


@contextlib.contextmanager
def _in_words(plan: Plan) -> Iterator[None]:
    """Turns what Ray raises into an error of ours: the one raised on a node, or a WorldError."""
    try:
        yield
    except FlowersError:
        raise
    except Exception as error:
        if ours := _ours(error):
            raise ours from error
        if isinstance(error, ConnectionError) or not ray.is_initialized():
            raise _no_cluster(plan.address, _line(error)) from error
        if not isinstance(error, ray.exceptions.RayError):
            raise
        raise WorldError(
            "a Ray cluster that keeps its workers",
            _line(error),
            "If memory ran out, use fewer --workers or a smaller --batch; finished shards are "
            "kept, and the same command goes on from there.",
        ) from error


def _ours(error: BaseException | None) -> FlowersError | None:
    """The error of this package inside Ray's."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, FlowersError):
            return error
        seen.add(id(error))
        error = getattr(error, "cause", None) or error.__cause__ or error.__context__
    return None


def _line(error: BaseException) -> str:
    """The last line of a message, which in Ray's long ones says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300] if lines else ''}"
