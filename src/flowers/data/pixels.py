"""Every usable photo at one size in one memory-mapped array: photos are decoded once."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from flowers import files
from flowers.config import PhotoLimits
from flowers.data import parallel, photos
from flowers.data.catalogue import Catalogue
from flowers.errors import InputError
from flowers.progress import progress


def cache(
    catalogue: Catalogue, size: int, folder: str | Path, limits: PhotoLimits = photos.LIMITS
) -> np.ndarray:
    """The pixels of all usable photos, from the cache in `folder` where they are there.

    Of several processes that ask at once, one decodes and the others wait for it.

    Args:
        catalogue: whose `usable` rows are wanted.
        size: px of either side.
        folder: where the cache is kept; about size x size x 3 bytes a photo.

    Returns:
        uint8 [N, size, size, 3], RGB, read-only and memory-mapped, in the order of
        `catalogue.usable`.

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
    with files.locked(path):
        if (kept := _kept(path, shape)) is not None:
            return kept
        files.require_space(folder, int(np.prod(shape)), "the decoded photos")
        _write(catalogue, path, shape, limits)
    kept = _kept(path, shape)
    assert kept is not None
    return kept


def _write(catalogue: Catalogue, path: Path, shape: tuple[int, ...], limits: PhotoLimits) -> None:
    rows = list(zip(catalogue.usable["path"], catalogue.usable["sha256"], strict=True))

    def decode(row: tuple[str, str]) -> np.ndarray:
        return _decode(catalogue.root / row[0], row[1], shape[1], limits)

    # Written through the file and not through the map: on a full disk a file raises, a map kills.
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        decoded = parallel.ordered(decode, rows)
        with contextlib.closing(decoded):
            for pixels in progress(decoded, "decoding photos", total=len(rows)):
                file.write(pixels)


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
