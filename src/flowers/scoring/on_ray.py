"""Scoring on Ray Data: on this machine, or on a cluster."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

import fsspec
import pyarrow as pa
import ray
import ray.data
from ray.util.annotations import RayDeprecationWarning

from flowers import files
from flowers.errors import FlowersError
from flowers.scoring import cluster, local, sources
from flowers.scoring.local import AHEAD
from flowers.scoring.plan import RETRIES, Photo, Plan, cores, pieces
from flowers.scoring.rows import Scorer
from flowers.ship import card as cards

# Ray keeps a list of all files it is given, so it gets them in windows: what is held grows with
# the number of workers, not of photos. A window is about two minutes of work, its start some 3 s.
WINDOW = 4_000  # photos a worker
LEAST_WINDOW = 20_000  # photos
MOST_BLOCKS = 4_000  # pieces of a window: Ray's book-keeping takes about a millisecond for each
READER = 0.2  # of a core: readers wait for disks and networks most of the time
REMOTE_READERS = 4  # a worker, where photos come from a store; one where they lie on a disk
_DEATHS = (  # of an actor, its process, by Ray's guard over memory, with its node
    *(ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError),
    *(ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError),
)
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
        WorldError: the cluster cannot be reached, its actors cannot start or die of one photo
            after the other, or the disk or a store fails.
    """
    with cluster.opened(plan, say):
        workers = cluster.workers(plan, say)
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
        except _DEATHS as error:
            died = 1 if given else died + 1
            never_began = getattr(error, "actor_init_failed", False)
            if cluster.ours(error) or never_began or died >= RETRIES:
                raise
        behind = given + AHEAD * workers * plan.batch
        here, rest = rest[given:behind], rest[behind:]
        if here:
            say(f"Workers of Ray ended again and again; {len(here)} photos are scored here.")
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
