"""Arrays of photos, as some sets come, as PNG files in class folders, as all others do."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from flowers.data import parallel
from flowers.progress import progress


def write(folder: Path, photos: np.ndarray, labels: Sequence[str]) -> None:
    """Writes <folder>/<label>/<number>.png for each photo; PNG keeps every pixel.

    Args:
        folder: a new one of a set, inside `files.atomic_folder`.
        photos: uint8 [N, height, width, 3], RGB.
        labels: N class names.
    """
    for label in sorted(set(labels)):
        (folder / label).mkdir(parents=True)
    digits = len(str(len(photos) - 1))

    def save(number: int) -> None:
        path = folder / labels[number] / f"{number:0{digits}}.png"
        # in memory first: Pillow does not notice when a full disk takes but a part of a file
        buffer = io.BytesIO()
        picture = Image.fromarray(np.ascontiguousarray(photos[number]))
        picture.save(buffer, "PNG", compress_level=1)
        path.write_bytes(buffer.getvalue())

    written = parallel.ordered(save, range(len(photos)))
    for _ in progress(written, f"writing {folder.name} photos", total=len(photos)):
        pass
