"""Plants in a clean set of flowers what is wrong with real ones, for lessons and tests.

Counted in the set on Kaggle (`alxmamaev/flowers-recognition`, 4,317 photos): the same file twice,
most of them once as a rose and once as a tulip; some twenty pairs of photos that look alike; and,
as in every folder that people fill, files that are no photos.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from flowers import files
from flowers.data import photos

CONFLICTS = 4  # roses that lie among the tulips as well
COPIES = 2  # daisies that lie in their folder twice
SMALLER = 3  # sunflowers that lie there again, cut a little, at half the size
WEB_PAGE = "<!DOCTYPE html><title>404</title><p>This photo is no longer here.</p>\n"


def plant(folder: str | Path, to: str | Path) -> Path:
    """Copies a set of flowers and spoils the copy; what was at `to` before is replaced.

    Args:
        folder: holds daisy, dandelion, rose, sunflower and tulip, at least five photos each.
        to: where the spoiled copy goes.

    Returns:
        `to`, with 4 roses filed as tulips too, 2 daisies twice, 3 sunflowers again at half the
        size, and among the dandelions a file cut short, a web page and a thumbnail of 12 px.

    Raises:
        InputError: a photo cannot be read.
        WorldError: the disk is full or read-only.
    """
    folder, to = Path(folder), Path(to)
    with files.locked(to):
        if to.exists():
            shutil.rmtree(to)
        with files.atomic_folder(to) as fresh:
            shutil.copytree(folder, fresh, dirs_exist_ok=True)
            for path in _first(fresh, "rose", CONFLICTS):
                shutil.copy(path, fresh / "tulip" / path.name)
            for path in _first(fresh, "daisy", COPIES):
                shutil.copy(path, path.with_name(f"copy-of-{path.name}"))
            for path in _first(fresh, "sunflower", SMALLER):
                _smaller(photos.read(path)).save(path.with_name(f"small-{path.name}"), quality=60)
            _spoil(fresh / "dandelion", _first(fresh, "dandelion", 1)[0])
    return to


def _first(folder: Path, label: str, count: int) -> Sequence[Path]:
    return sorted((folder / label).glob("*.jpg"))[:count]


def _smaller(photo: np.ndarray) -> Image.Image:
    """The photo less a narrow border, at half its size, a little darker."""
    border = len(photo) // 50
    cut = photo[border:-border, border:-border]
    darker = (0.9 * cut.astype(np.float32)).astype(np.uint8)
    return Image.fromarray(darker).resize((cut.shape[1] // 2, cut.shape[0] // 2))


def _spoil(folder: Path, photo: Path) -> None:
    content = photo.read_bytes()
    (folder / "cut-short.jpg").write_bytes(content[: len(content) // 3])
    (folder / "not-found.jpg").write_text(WEB_PAGE, encoding="utf-8")
    Image.fromarray(photos.read(photo, 12)).save(folder / "thumbnail.jpg")
