"""Photos to measure on: real ones where they are, painted ones elsewhere."""

from __future__ import annotations

import itertools
from pathlib import Path

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "flowers"
PAINTED = 40  # different ones: painting takes a tenth of a second each
SIDE = 320  # px of a painted photo


def folder(data: Path | None, work: Path, count: int) -> Path:
    """A folder of class folders: `data`, the real photos, or at least `count` painted ones.

    A painted photo is copied, moved and recoloured (`data.augment`) until there are enough.
    """
    if data is not None or REAL.is_dir():
        return data or REAL
    return grown([], work / f"painted-{count}", count)


def paths(data: Path | None, work: Path, count: int) -> list[Path]:
    """`count` photos, the classes in turn."""
    found = folder(data, work, count)
    classes = sorted(place for place in found.iterdir() if place.is_dir())
    turns = itertools.zip_longest(*(sorted(place.glob("*.jpg")) for place in classes))
    return [path for turn in turns for path in turn if path is not None][:count]


def spread(photos: list[Path], count: int) -> list[Path]:
    """`count` of the photos at even distances, or all.

    Where they are sorted by class, each class has its share.
    """
    import numpy as np

    places = np.linspace(0, len(photos) - 1, min(count, len(photos)))
    return [photos[place] for place in places.round().astype(int)]


def grown(real: list[Path], target: Path, count: int) -> Path:
    """`count` JPEG files below `target`, one folder a class: the real ones, then varied copies.

    Without real ones painted flowers are varied. What an earlier call made is used again.
    """
    from PIL import Image

    from flowers.data import parallel, photos
    from flowers.data.augment import augment

    done = target / "done"
    if done.is_file():
        return target
    base = real or _painted(target.with_name("painted"))
    for label in {path.parent.name for path in base}:
        (target / label).mkdir(parents=True, exist_ok=True)

    def make(number: int) -> None:
        path = base[number % len(base)]
        place = target / path.parent.name / f"{number:06}.jpg"
        if number < len(base):
            place.unlink(missing_ok=True)
            place.symlink_to(path.resolve())
            return
        pixels = photos.read(path, 256)
        varied = augment(pixels[None], _seed(number))[0]
        Image.fromarray(varied).save(place, "JPEG", quality=90)

    for _ in parallel.ordered(make, range(count)):
        pass
    done.touch()
    return target


def _seed(number: int):
    import numpy as np

    return np.array([number])


def _painted(place: Path) -> list[Path]:
    from PIL import Image

    from flowers.data import painted

    made = []
    for number in range(PAINTED):
        label = painted.LABELS[number % len(painted.LABELS)]
        path = place / label / f"{number:03}.jpg"
        made.append(path)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = painted.paint(label, number, SIDE)
            Image.fromarray(pixels).save(path, "JPEG", quality=88)
    return made
