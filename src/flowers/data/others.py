"""Photos of things that belong to none of the classes: what a model should refuse."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from flowers.data import listing, parallel, photos
from flowers.errors import PhotoError
from flowers.progress import progress


@dataclass(frozen=True, eq=False)
class Others:
    """Photos from one folder, decoded.

    pixels: uint8 [N, size, size, 3], RGB; digests: SHA-256 of each file by its path below the
    folder, in the order of `pixels`; refused: files that are no photos.
    """

    pixels: np.ndarray
    digests: dict[str, str]
    refused: int


def read(folder: str | Path, size: int) -> Others:
    """Decodes every photo in a folder and below; what is no photo is counted and left out.

    Args:
        folder: of photos in any arrangement.
        size: side of the square they are brought to, px.

    Raises:
        InputError: there is no such folder.
    """
    root = listing.require_folder(folder)
    paths = listing.photos_at(root)
    decoded = parallel.ordered(partial(_decode, size), paths)
    found = list(progress(decoded, "photos of other things", total=len(paths)))
    kept = {
        path.relative_to(root).as_posix(): one
        for path, one in zip(paths, found, strict=True)
        if one is not None
    }
    blank = np.empty((0, size, size, 3), np.uint8)
    pixels = np.stack([array for _, array in kept.values()]) if kept else blank
    digests = {name: digest for name, (digest, _) in kept.items()}
    return Others(pixels, digests, len(paths) - len(kept))


def _decode(size: int, path: Path) -> tuple[str, np.ndarray] | None:
    try:
        content = photos.load(path)
        return hashlib.sha256(content).hexdigest(), photos.read(content, size)
    except PhotoError:
        return None
