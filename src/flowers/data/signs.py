"""Hand signs of the digits 0 to 5: the Sign Language Digits photos, or the SIGNS HDF5 files.

Sign Language Digits Dataset, Turkey Ankara Ayranci Anadolu High School, Apache-2.0: about 218
pupils, each of whom shows every digit once. SIGNS are 1,080 and 120 photos in two HDF5 files.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from flowers.data import archives, pictures, published
from flowers.data.folders import class_root, sizes
from flowers.data.published import Published
from flowers.errors import InputError

CLASSES = ("0", "1", "2", "3", "4", "5")
PUBLISHED = Published(
    "https://codeload.github.com/ardamavi/Sign-Language-Digits-Dataset/zip/refs/heads/master",
    size_limit=300_000_000,  # it has 2,062 photos of 100 px and little else
)
_MOST = 2_000_000_000  # bytes that an array of photos may have
_SMALLEST = 32  # px: what the networks need


def arrange(archive: Path, temporary: Path) -> None:
    """Keeps the class folders 0 to 5 of an archive."""
    unpacked = archives.unpack(archive, temporary / "unpacked")
    root = class_root(unpacked, archive)
    require(root, archive)
    for name in CLASSES:
        (root / name).rename(temporary / name)
    shutil.rmtree(unpacked)


def take(path: Path, folder: Path) -> Path:
    """The root of hand signs that a user has: a folder, an archive, or SIGNS files.

    Args:
        path: of class folders, an archive of them, one of the two HDF5 files, or their folder.
        folder: where sets are kept; HDF5 files and archives are unpacked below it.

    Raises:
        InputError: it is none of these, or lacks a class.
    """
    if path.is_dir():
        pair = sorted(path.glob("*train*.h5"))
        return _unpacked(pair[0], folder) if pair else class_root(path)
    if is_hdf5(path):
        return _unpacked(path, folder)
    return class_root(published.unpack(path, folder, arrange))


def require(root: Path, shown: Path | None = None) -> None:
    """Refuses a set that lacks one of the six classes."""
    missing = [name for name in CLASSES if name not in sizes(root)]
    if missing:
        raise InputError(
            f"photos of the hand signs 0 to 5, a folder each, in {shown or root}",
            f"none of {', '.join(missing)}",
            "Add the missing folders, or leave the name `signs` out: any classes will do.",
        )


def people(paths: Sequence[str]) -> list[str]:
    """Who shows the sign on each photo, as far as the file names tell; "" where they do not.

    The camera numbered the photos (IMG_1118.JPG) one person after the other, digits in order. A
    person ends where the numbers jump by the digits 6 to 9, which are not in the set, and the
    digits begin anew. Two people who cannot be told apart count as one: that is the safe side.
    """
    names = [PurePosixPath(path) for path in paths]
    found = [re.fullmatch(r"IMG_([0-9]+)", name.stem) for name in names]
    shown = [name.parent.name for name in names]
    order = sorted(
        (int(match[1]), int(digit), index)
        for index, (match, digit) in enumerate(zip(found, shown, strict=True))
        if match and digit in CLASSES
    )
    origins, person = [""] * len(paths), 0
    for place, (number, digit, index) in enumerate(order):
        before, last, _ = order[place - 1]
        if place and number - before >= 3 and digit <= min(last, 1):
            person += 1
        origins[index] = f"person {person}"
    return origins


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5 by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def _unpacked(path: Path, folder: Path) -> Path:
    """The class root made of the two SIGNS files, of which `path` is one."""
    train = path.with_name(path.name.replace("test", "train"))
    test = path.with_name(train.name.replace("train", "test"))
    for one in (train, test):
        if train == test or not is_hdf5(one):
            raise InputError(
                "train_signs.h5 and test_signs.h5 side by side",
                f"no HDF5 file {one.name} in {path.parent}",
                "Put both files into one folder and name one of them.",
            )

    def arrange(_: Path, temporary: Path) -> None:
        for part, file in (("train", train), ("test", test)):
            photos, labels = _read(file, part)
            pictures.write(temporary / part, photos, [CLASSES[label] for label in labels])

    return class_root(published.unpack(train, folder, arrange, beside=test))


def _read(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Photos uint8 [N, side, side, 3] and labels int [N], 0 to 5, of one SIGNS file.

    Raises:
        InputError: a key is missing, or an array has another shape, type or range.
    """
    import h5py  # comes with Keras; nobody else here needs it

    keys = ("list_classes", f"{part}_set_x", f"{part}_set_y")
    try:
        with h5py.File(path, "r") as file:
            missing = [key for key in keys if not _is_array(file, key)]
            if missing:
                held = ", ".join(sorted(file)) or "nothing"
                raise _unusable(path, part, f"no array {', '.join(missing)}, but {held}")
            arrays = [file[key] for key in keys]
            shapes = [array.shape for array in arrays]
            _check_shapes(path, part, shapes, arrays)
            classes, photos, labels = (np.asarray(array[()]) for array in arrays)
    except OSError as error:
        raise _unusable(path, part, f"a damaged file ({str(error)[:120]})") from error
    labels = labels.reshape(-1).astype(int)
    unknown = set(labels.tolist()) - set(range(len(CLASSES)))
    if sorted(classes.tolist()) != list(range(len(CLASSES))) or unknown:
        raise _unusable(path, part, f"classes {classes.tolist()} and labels {sorted(set(labels))}")
    missing = sorted(set(range(len(CLASSES))) - set(labels.tolist()))
    if missing:
        raise _unusable(path, part, f"no photo of {', '.join(map(str, missing))}")
    return photos, labels


def _is_array(file, key: str) -> bool:
    """Whether the file itself holds an array of that name: no link into another file."""
    import h5py

    if not isinstance(file.get(key, getlink=True), h5py.HardLink):
        return False
    found = file[key]
    return isinstance(found, h5py.Dataset) and not found.is_virtual and not found.external


def _check_shapes(path: Path, part: str, shapes: list[tuple[int, ...]], arrays: list) -> None:
    classes, photos, labels = shapes
    square = len(photos) == 4 and photos[1] == photos[2] and photos[3] == 3
    if not square or str(arrays[1].dtype) != "uint8":
        raise _unusable(path, part, f"{part}_set_x of shape {photos} and type {arrays[1].dtype}")
    if photos[1] < _SMALLEST:
        raise _unusable(path, part, f"photos of {photos[1]} px, fewer than {_SMALLEST}")
    if int(np.prod(photos, dtype=object)) > _MOST:
        raise _unusable(path, part, f"{part}_set_x of more than {_MOST / 1e9:g} GB")
    whole = all(np.issubdtype(arrays[place].dtype, np.integer) for place in (0, 2))
    if labels not in ((photos[0],), (1, photos[0]), (photos[0], 1)) or not whole:
        raise _unusable(path, part, f"{part}_set_y of shape {labels} for {photos[0]} photos")
    if classes != (len(CLASSES),):
        raise _unusable(path, part, f"list_classes of shape {classes}")


def _unusable(path: Path, part: str, received: str) -> InputError:
    return InputError(
        f"the HDF5 file of hand signs {path} with the whole numbers list_classes [6], the photos "
        f"{part}_set_x uint8 [N, side, side, 3] and their labels {part}_set_y [N]",
        received,
        "Name the files train_signs.h5 and test_signs.h5 of SIGNS, or a folder of class folders.",
    )
