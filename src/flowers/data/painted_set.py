"""A folder of painted photos, painted on all cores: the set for when none can be downloaded."""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

import flowers
from flowers import files
from flowers.data import painted
from flowers.data.parallel import cores, ordered
from flowers.errors import InputError, WorldError
from flowers.progress import progress

QUALITY = 92  # of the JPEG files
RECORD = "painted.json"  # stands in a painted folder and tells its settings
PAINTERS = 8  # processes at most, 60 MB each
WORTH = 100  # photos below which half a second to start processes is not

_SEEDS = 100_000  # photos of each flower that one seed of `write` has


def write(folder: str | os.PathLike, per_class: int = 200, seed: int = 0, size: int = 224) -> Path:
    """Paints `per_class` photos of each flower into `folder`, as <label>/<label>-0001.jpg.

    The folder appears whole or not at all. One painted before with the same settings is kept as
    it is; one painted with other settings is replaced.

    Args:
        folder: where the photos go.
        per_class: photos of each flower, 1 to 100,000.
        seed: 0 or more; another seed paints other photos.
        size: px of a side, 16 to 2048.

    Raises:
        InputError: a number is out of its range, or the folder holds something else.
        WorldError: the disk is full or read-only, or a process that paints was ended.
    """
    folder = Path(folder)
    painted.check(painted.LABELS[0], seed, size)
    if not 1 <= per_class <= _SEEDS:
        raise InputError(
            f"1 to {_SEEDS:,} photos of each flower", str(per_class), "Name a number between them."
        )
    settings = {"edition": painted.EDITION, "per_class": per_class, "seed": seed, "size": size}
    if _settings(folder) == settings:
        return folder
    files.require_space(folder, 3000 + per_class * size * size, "the painted photos")
    with files.locked(folder):
        before = _settings(folder)
        if before == settings:  # another process painted it while we waited
            return folder
        if before is not None:
            _remove(folder)
        with files.atomic_folder(folder) as fresh:
            _fill(fresh, per_class, seed * _SEEDS, size)
            files.write_json(fresh / RECORD, settings)
    return folder


def _settings(folder: Path) -> object:
    """The settings a folder was painted with; None where there is no folder, or an empty one."""
    if (folder / RECORD).is_file():
        return files.read_json(folder / RECORD)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"an empty or a painted folder at {folder}",
            "something else, which is left as it is",
            "Name another folder.",
        )
    return None


def _remove(folder: Path) -> None:
    """Under a name that `files.sweep` knows, so that a kill leaves no half of a folder."""
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.partial.old")
    with files.world(folder):
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        shutil.rmtree(aside)


def _fill(folder: Path, per_class: int, first: int, size: int) -> None:
    for label in painted.LABELS:
        (folder / label).mkdir()
    jobs = [
        (str(folder / label / f"{label}-{number + 1:04d}.jpg"), label, first + number, size)
        for label in painted.LABELS
        for number in range(per_class)
    ]
    workers = min(cores(), PAINTERS) if len(jobs) >= WORTH else 1
    with _painters(workers) as free:

        def save(job: tuple[str, str, int, int]) -> None:
            if workers == 1:
                return _save(*job)
            painter = free.get()
            try:
                painter.save(job)
            finally:
                free.put(painter)

        done = ordered(save, jobs, workers)
        for _ in progress(done, "painting", total=len(jobs)):
            pass


def _save(path: str, label: str, seed: int, size: int) -> None:
    # in memory first: Pillow does not notice when a full disk takes but a part of a file
    buffer = io.BytesIO()
    picture = Image.fromarray(painted.paint(label, seed, size))
    picture.save(buffer, "JPEG", quality=QUALITY)
    Path(path).write_bytes(buffer.getvalue())


# Processes that paint ------------------------------------------------------------------------
#
# Painting is a thousand small steps in numpy, which threads cannot take side by side. `spawn` would
# run the user's own script once more, and `fork` is not safe once TensorFlow was imported; so these
# are commands of their own. They end when their input does, also when this process was killed.


class _Painter:
    """A process that saves what it is told to."""

    def __init__(self) -> None:
        root = str(Path(flowers.__file__).parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            text=True,
        )

    def save(self, job: tuple[str, str, int, int]) -> None:
        """Has one photo painted.

        Raises:
            WorldError: the photo cannot be written, or the process is gone.
        """
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        if not answer:
            raise WorldError(
                "a process that paints to go on",
                f"its end, with exit code {self.process.wait()}",
                "Was it killed, or was memory short? Try again.",
            )
        if problem := json.loads(answer):
            raise WorldError(*problem)

    def end(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def _painters(count: int) -> Iterator[queue.Queue[_Painter]]:
    """The processes that have nothing to do; none where one is enough, since that is this one."""
    painters = [_Painter() for _ in range(count if count > 1 else 0)]
    free: queue.Queue[_Painter] = queue.Queue()
    for painter in painters:
        free.put(painter)
    try:
        yield free
    finally:
        for painter in painters:
            painter.end()


def _serve() -> None:
    """Saves what each line of the input asks for; answers with null, or what stood in the way."""
    with contextlib.suppress(KeyboardInterrupt):  # whoever started this process says it
        for line in sys.stdin:
            problem, job = None, json.loads(line)
            try:
                with files.world(job[0]):
                    _save(*job)
            except WorldError as error:
                problem = [error.expected, error.received, error.remedy]
            print(json.dumps(problem), flush=True)


if __name__ == "__main__":
    _serve()
