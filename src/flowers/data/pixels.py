"""Every usable photo at one size in one memory-mapped array: photos are decoded once.

Where the disk is not to hold all of them, the first lie in the array, and the others are decoded
whenever they are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowers import files
from flowers.config import PhotoLimits
from flowers.data import parallel, photos
from flowers.data.catalogue import Catalogue
from flowers.errors import InputError
from flowers.progress import progress


@dataclass(frozen=True, eq=False)
class Streamed:
    """Pixels as an array has them, uint8 [N, size, size, 3], of which only the first are kept.

    It can be asked for its length and indexed by numbers, arrays of numbers and slices.

    kept: uint8 [K, size, size, 3], memory-mapped; catalogue: whose usable photos these are.
    """

    kept: np.ndarray
    catalogue: Catalogue
    limits: PhotoLimits = photos.LIMITS

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's."""
        return (len(self.catalogue.usable), *self.kept.shape[1:])

    @property
    def nbytes(self) -> int:
        """Of what is kept."""
        return self.kept.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: object) -> np.ndarray:
        """The photos asked for; those that are not kept are decoded, on all cores.

        Raises:
            InputError: such a photo vanished or changed since the catalogue was made.
        """
        asked = np.arange(len(self))[key]
        numbers = np.atleast_1d(asked)
        out = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        kept = numbers < len(self.kept)
        out[kept] = self.kept[numbers[kept]]
        rows = _rows(self.catalogue, numbers[~kept])
        decoded = parallel.ordered(_decoder(self.catalogue, self.shape[1], self.limits), rows)
        with contextlib.closing(decoded):
            for place, photo in zip(np.flatnonzero(~kept), decoded, strict=True):
                out[place] = photo
        return out[0] if np.ndim(asked) == 0 else out


def cache(
    catalogue: Catalogue,
    size: int,
    folder: str | Path,
    limits: PhotoLimits = photos.LIMITS,
    room: int | None = None,
) -> np.ndarray | Streamed:
    """The pixels of all usable photos, from the cache in `folder` where they are there.

    Of several processes that ask at once, one decodes and the others wait for it.

    Args:
        catalogue: whose `usable` rows are wanted.
        size: px of either side.
        folder: where the cache is kept; about size x size x 3 bytes a photo.
        room: bytes that the cache may take; what does not fit is decoded when it is read. A whole
            cache that lies there already is used as it is.

    Returns:
        uint8 [N, size, size, 3], RGB, read-only and memory-mapped, in the order of
        `catalogue.usable`; or what answers as that does.

    Raises:
        InputError: a photo vanished or changed since the catalogue was made, or none is usable.
        WorldError: the disk is full, or the folder cannot be written.
    """
    if catalogue.usable.empty:
        raise InputError(
            f"usable photos in {catalogue.root}", "none", "Run `flowers check` on the folder."
        )
    path = Path(folder) / f"pixels-{catalogue.key()}-{size}.npy"
    shape = (len(catalogue.usable), size, size, 3)
    if (kept := _kept(path, shape)) is not None:
        return kept
    if room is not None and room < int(np.prod(shape)):
        fitting = (room // (size * size * 3), *shape[1:])
        if fitting[0] == 0:
            return Streamed(np.empty(fitting, np.uint8), catalogue, limits)
        path = path.with_name(f"{path.stem}-first-{fitting[0]}.npy")
        return Streamed(_made(catalogue, path, fitting, limits), catalogue, limits)
    return _made(catalogue, path, shape, limits)


def release(pixels: np.ndarray | Streamed) -> None:
    """Gives back the memory that photos read through the map count for; they can be read again.

    Args:
        pixels: what `cache` gave; an array of another kind is left as it is.
    """
    kept = pixels.kept if isinstance(pixels, Streamed) else pixels
    if isinstance(kept, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        kept.base.madvise(mmap.MADV_DONTNEED)


def _made(
    catalogue: Catalogue, path: Path, shape: tuple[int, ...], limits: PhotoLimits
) -> np.ndarray:
    """The first photos, as many as `shape` says, from the cache or decoded into it."""
    if (kept := _kept(path, shape)) is not None:
        return kept
    with files.locked(path):
        if (kept := _kept(path, shape)) is not None:
            return kept
        files.require_space(path.parent, int(np.prod(shape)), "the decoded photos")
        _write(catalogue, path, shape, limits)
    kept = _kept(path, shape)
    assert kept is not None
    return kept


def _write(catalogue: Catalogue, path: Path, shape: tuple[int, ...], limits: PhotoLimits) -> None:
    rows = _rows(catalogue, np.arange(shape[0]))
    # Written through the file and not through the map: on a full disk a file raises, a map kills.
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        decoded = parallel.ordered(_decoder(catalogue, shape[1], limits), rows)
        with contextlib.closing(decoded):
            for pixels in progress(decoded, "decoding photos", total=len(rows)):
                file.write(pixels)


def _rows(catalogue: Catalogue, numbers: np.ndarray) -> list[tuple[str, str]]:
    """Path and hash of some usable photos."""
    chosen = catalogue.usable.iloc[numbers]
    return list(zip(chosen["path"], chosen["sha256"], strict=True))


def _decoder(
    catalogue: Catalogue, size: int, limits: PhotoLimits
) -> Callable[[tuple[str, str]], np.ndarray]:
    return lambda row: _decode(catalogue.root / row[0], row[1], size, limits)


def _decode(path: Path, digest: str, size: int, limits: PhotoLimits) -> np.ndarray:
    content = photos.load(path, limits)
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(
            f"the photo {path} as it was when the catalogue was made",
            "a file that has changed since",
            "Make the catalogue again (`flowers check`).",
        )
    return photos.read(content, size, limits)


def _kept(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The cache where it is there and whole, else None."""
    try:
        kept = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError):
        return None
    return kept if kept.shape == shape and kept.dtype == np.uint8 else None
