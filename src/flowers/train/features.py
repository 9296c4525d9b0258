"""The frozen part of a network is a constant: computed once a photo and view, kept as float16.

What the disk is not to hold is computed again whenever it is read, to the same numbers.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from flowers import files
from flowers.errors import WorldError
from flowers.progress import progress
from flowers.train import hosts
from flowers.train.replicas import ONE, Replicas

SHARD = 128  # photos a file: 51 MB of conv4 output; a kill loses the work of one file
BATCH = 32  # photos a forward pass
AT_ONCE = 4 * 224 * 224  # px of photos that go through a network together layer by layer
LARGEST = float(np.finfo(np.float16).max)

Read = Callable[[np.ndarray], np.ndarray]  # photo numbers int [B] -> network input [B, ...]


@dataclass(frozen=True)
class Features:
    """The trunk's output for some photos, on disk: float16 `[len(photos), *shape]` in shards.

    Beside each row lie `beside` more numbers, the trunk's second output. Rows are read with plain
    reads, not through a memory map: mapped pages would count as this process's memory, and the
    operating system keeps the file in its own cache anyway.

    Rows from number `kept` on are not on disk: `again` computes them, float16 [B, numbers a row].
    """

    folder: Path
    photos: np.ndarray  # int [R]: which photo each row belongs to
    shape: tuple[int, ...]
    kept: int
    again: Read
    beside: int = 0

    @property
    def bytes(self) -> int:
        """On disk."""
        return self.kept * self._row_bytes

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.photos)

    @property
    def _row_bytes(self) -> int:
        return 2 * (int(np.prod(self.shape)) + self.beside)

    def read(self, photos: np.ndarray) -> np.ndarray:
        """Features of the given photos: float16 `[B, *shape]`.

        Raises:
            WorldError: a shard has vanished or was cut since it was written.
        """
        return self._read(photos, 0, int(np.prod(self.shape))).reshape(len(photos), *self.shape)

    def read_beside(self, photos: np.ndarray) -> np.ndarray:
        """What lies beside the features of the given photos: float16 `[B, beside]`."""
        return self._read(photos, int(np.prod(self.shape)), self.beside)

    def _read(self, photos: np.ndarray, first: int, count: int) -> np.ndarray:
        """float16 [B, count]: part of each row, from number `first` on."""
        found = np.searchsorted(self.photos, photos, sorter=self._order)
        rows = self._order[np.minimum(found, len(self.photos) - 1)]
        if not np.array_equal(self.photos[rows], photos):
            raise ValueError("Expected photos whose features were computed. Received others.")
        out = np.empty((len(rows), count), np.float16)
        absent = rows >= self.kept
        if absent.any():
            out[absent] = self.again(photos[absent])[:, first : first + count]
        flat = out.view(np.uint8)
        shards, places = np.divmod(rows, SHARD)
        for shard in np.unique(shards[~absent]):
            with files.world(self.folder), _shard(self.folder, shard).open("rb", 0) as file:
                start = _skip_header(file)
                for number in np.flatnonzero((shards == shard) & ~absent):
                    file.seek(start + int(places[number]) * self._row_bytes + 2 * first)
                    if file.readinto(flat[number]) != 2 * count:
                        raise WorldError(
                            f"whole features in {file.name}", "a file cut short", "Remove it."
                        )
        return out


def compute(
    trunk: keras.Model,
    read: Read,
    photos: np.ndarray,
    folder: Path,
    key: str,
    what: str,
    room: int | None = None,
    replicas: Replicas = ONE,
) -> Features:
    """Runs `trunk` over `photos` once; what is already in `folder` is kept.

    A second process waits for the first. After a kill the finished shards are there, and the
    rest is computed.

    Args:
        trunk: from network input to the features to keep; a second output [B, n] is kept beside.
        read: gives the network input for an array of photo numbers.
        photos: int [R], which photos.
        folder: of the cache; a folder below it is named after `key`.
        key: everything the result depends on but the photos' numbers, as text.
        what: shown beside the progress bar.
        room: bytes that may be kept; the rest is computed whenever it is read, so `trunk` must
            not learn afterwards.
        replicas: devices that compute, each files of its own; all see `folder`.

    Raises:
        WorldError: the disk is full or cannot be written.
    """
    form = f"{key} {[output.shape[1:] for output in trunk.outputs]}"
    digest = hashlib.sha256(form.encode() + photos.astype("<i8").tobytes()).hexdigest()[:16]
    place = folder / f"features-{digest}"
    shape, *beside = (tuple(output.shape[1:]) for output in trunk.outputs)
    kept = len(photos)
    if room is not None and room < kept * row_bytes(trunk):
        kept = room // row_bytes(trunk) // SHARD * SHARD
    found = Features(place, photos, shape, kept, _again(trunk, read), sum(n for (n,) in beside))
    missing = [s for s in range(-(-kept // SHARD)) if not _shard(place, s).is_file()]
    if not missing:
        return found
    with replicas.locked(place, lambda line: None):
        with files.world(place):
            place.mkdir(parents=True, exist_ok=True)
        # of several processes each computes the files whose numbers fall to it
        mine = [s for s in missing if s % replicas.processes == replicas.process]
        missing = [s for s in mine if not _shard(place, s).is_file()]
        files.require_space(place, len(missing) * SHARD * found._row_bytes, "features")
        with progress(None, what, total=sum(_size(photos, shard) for shard in missing)) as bar:
            _fill_together(replicas.names, trunk, read, photos, missing, place, bar.update)
    if replicas.processes > 1:
        hosts.wait_for([_shard(place, s) for s in range(-(-kept // SHARD))])
    return found


def _fill_together(names: tuple[str, ...], trunk, read, photos, shards, place, done) -> None:
    """Computes and writes some shards, on one device or by turns on several."""
    if len(names) == 1:
        _fill(trunk, read, photos, shards, place, done)
        return

    def fill(device: str, share: list[int]) -> None:
        with keras.device(device):  # a copy, whose weights lie on the device
            copy = keras.models.clone_model(trunk)
            copy.set_weights(weights)
            _fill(copy, read, photos, share, place, done)

    weights = trunk.get_weights()
    with ThreadPoolExecutor(len(names)) as pool:
        shares = [shards[number :: len(names)] for number in range(len(names))]
        list(pool.map(fill, names, shares))


def _fill(
    trunk: keras.Model,
    read: Read,
    photos: np.ndarray,
    shards: list[int],
    place: Path,
    done: Callable[[int], object],
) -> None:
    """Computes and writes some shards; `done` hears of every batch."""
    steps = [
        (shard, start, min(start + BATCH, (shard + 1) * SHARD))
        for shard in shards
        for start in range(shard * SHARD, min((shard + 1) * SHARD, len(photos)), BATCH)
    ]
    rows: list[np.ndarray] = []
    batches = _ahead(read, (photos[start:end] for _, start, end in steps))
    for (shard, start, _), batch in zip(steps, batches, strict=True):
        rows.append(_rows(trunk, batch))
        done(len(batch))
        if start + BATCH >= min((shard + 1) * SHARD, len(photos)):
            _write(_shard(place, shard), np.concatenate(rows))
            rows = []


def _again(trunk: keras.Model, read: Read) -> Read:
    """Computes rows when they are read; batches are read by two threads, which share the trunk."""
    turn = threading.Lock()

    def again(absent: np.ndarray) -> np.ndarray:
        parts = range(0, len(absent), BATCH)
        with turn:
            return np.concatenate([_rows(trunk, read(absent[n : n + BATCH])) for n in parts])

    return again


def row_bytes(trunk: keras.Model) -> int:
    """What one photo's features take on disk."""
    return 2 * sum(int(np.prod(output.shape[1:])) for output in trunk.outputs)


def forward(model: keras.Model, batch: np.ndarray, size: int = BATCH) -> np.ndarray:
    """float32 [B, ...]: the output of a model that has one, over one batch."""
    return forward_all(model, batch, size)[0]


def forward_all(model: keras.Model, batch: np.ndarray, size: int = BATCH) -> list[np.ndarray]:
    """All outputs over one batch, float32, padded to `size` so that one shape is compiled once."""
    missing = size - len(batch)
    if missing > 0:
        batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
    outputs = keras.tree.flatten(model.predict_on_batch(batch))
    return [np.asarray(output, np.float32)[: size - max(missing, 0)] for output in outputs]


def once(model: keras.Model, *inputs: np.ndarray) -> list[np.ndarray]:
    """As `forward_all`, for a model that is shown this one batch and no other: layer by layer,
    without the seconds that it takes to compile a graph of them.

    What all layers gave for some photos is held until the last one has run, 0.1 GB for a photo of
    224 px in ResNet50, so that only a few photos go through at a time.
    """
    size = max(1, AT_ONCE // int(np.prod(inputs[0].shape[1:3])))
    parts = []
    for start in range(0, len(inputs[0]), size):
        part = [values[start : start + size] for values in inputs]
        outputs = model(part if len(part) > 1 else part[0], training=False)
        parts.append([keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(outputs)])
    return [np.concatenate(outputs).astype(np.float32) for outputs in zip(*parts, strict=True)]


def each(model: keras.Model, photos: np.ndarray, rows: np.ndarray, what: str) -> list[np.ndarray]:
    """float32 `[len(rows), ...]` of each output, over some rows of `photos`.

    Args:
        model: sees nothing else besides, so it is not compiled where one batch holds them all.
        photos: uint8 [N, S, S, 3].
        rows: int [n], which of them.
        what: shown beside the progress bar.
    """
    run = once if len(rows) <= BATCH else forward_all
    parts = []
    with progress(None, what, total=len(rows)) as bar:
        for start in range(0, len(rows), BATCH):
            parts.append(run(model, photos[rows[start : start + BATCH]]))
            bar.update(len(parts[-1][0]))
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def over(model: keras.Model, photos: np.ndarray, rows: np.ndarray, what: str) -> np.ndarray:
    """float32 `[len(rows), ...]`: as `each`, for a model that has one output."""
    return each(model, photos, rows, what)[0]


def _ahead(read: Read, batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Reads one batch ahead in a thread while the network works on the one before."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for photos in batches:
            coming = pool.submit(read, photos)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()


def _rows(trunk: keras.Model, batch: np.ndarray) -> np.ndarray:
    """float16 [B, numbers a row]: all outputs of the trunk side by side."""
    parts = [part.reshape(len(batch), -1) for part in forward_all(trunk, batch)]
    return np.clip(np.concatenate(parts, axis=1), -LARGEST, LARGEST).astype(np.float16)


def _write(path: Path, rows: np.ndarray) -> None:
    with files.atomic(path) as temporary:
        np.save(temporary, rows)


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npy"


def _size(photos: np.ndarray, shard: int) -> int:
    return min(SHARD, len(photos) - shard * SHARD)


def _skip_header(file) -> int:
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    return file.tell()
