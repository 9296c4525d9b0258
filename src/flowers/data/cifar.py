"""CIFAR-10: 50,000 training and 10,000 test photos of 32 px (Krizhevsky 2009)."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np

from flowers.data import archives, listing, pictures, published
from flowers.data.folders import class_root, sizes
from flowers.data.published import Published
from flowers.errors import InputError

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
PUBLISHED = Published(  # the archive that keras.datasets.cifar10 downloads, and its hash
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    size_limit=200_000_000,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
)
_SIDE = 32  # px


def arrange(archive: Path, temporary: Path) -> None:
    """Makes train/<class>/ and test/<class>/ of an archive, the publisher's or one of photos."""
    unpacked = archives.unpack(archive, temporary / "unpacked")
    batches = next((path.parent for path in sorted(unpacked.glob("**/test_batch"))), None)
    if batches is None:
        require(class_root(unpacked, archive), archive)
        return
    training = sorted(batches.glob("data_batch_*"))
    names = [name.decode() for name in _loaded(batches / "batches.meta", b"label_names")]
    if sorted(names) != sorted(CLASSES) or not training:
        raise InputError(
            f"five data_batch files and the ten classes of CIFAR-10 in {archive}",
            f"{len(training)} of the files and the classes {', '.join(names)}",
            "Download it again.",
        )
    for part, files in (("train", training), ("test", [batches / "test_batch"])):
        read = [_batch(path, len(names)) for path in files]
        photos, labels = (np.concatenate(column) for column in zip(*read, strict=True))
        pictures.write(temporary / part, photos, [names[label] for label in labels])
    shutil.rmtree(unpacked)


def take(path: Path, folder: Path) -> Path:
    """The root of CIFAR-10 as a user has it: a folder of train/ and test/, or an archive.

    Raises:
        InputError: it is neither, or a class is missing.
    """
    return class_root(path if path.is_dir() else published.unpack(path, folder, arrange), path)


def require(root: Path, shown: Path | None = None) -> None:
    """Refuses a set that does not come split, or lacks one of the ten classes."""
    expected = f"CIFAR-10, train/ and test/ with its ten class folders each, in {shown or root}"
    remedy = "Get the whole set, or leave the name `cifar10` out: any classes will do."
    if not listing.parts(root):
        raise InputError(expected, "no folders train and test", remedy)
    missing = [name for name in CLASSES if name not in sizes(root)]
    if missing:
        raise InputError(expected, f"no photos of {', '.join(missing)}", remedy)


class _Arrays(pickle.Unpickler):
    """Reads dictionaries of numbers, bytes and arrays, and refuses whatever else pickles can do."""

    def find_class(self, module: str, name: str) -> object:
        allowed = {"_reconstruct": np.empty(0).__reduce__()[0], "ndarray": np.ndarray}
        allowed["dtype"] = np.dtype
        if module.split(".")[0] != "numpy" or name not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} in a file of photos")
        return allowed[name]


def _loaded(path: Path, key: bytes) -> object:
    """What one of the publisher's files holds under `key`."""
    try:
        with path.open("rb") as file:
            return _Arrays(file, encoding="bytes").load()[key]
    except Exception as error:  # a damaged pickle raises what it likes
        raise InputError(
            f"a batch of CIFAR-10 in {path.name}",
            f"{type(error).__name__}: {error}",
            "Get it anew.",
        ) from error


def _batch(path: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Photos uint8 [N, 32, 32, 3] and labels int [N] of one of the publisher's files."""
    rows, labels = np.asarray(_loaded(path, b"data")), np.asarray(_loaded(path, b"labels"))
    fits = rows.dtype == np.uint8 and rows.shape == (len(labels), 3 * _SIDE * _SIDE)
    if not fits or labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"photos uint8 [N, {3 * _SIDE * _SIDE}] and as many labels 0 to 9 in {path.name}",
            f"{rows.dtype} {rows.shape} and {labels.shape}",
            "Get it anew.",
        )
    planes = rows.reshape(-1, 3, _SIDE, _SIDE)  # red, green, blue, one after the other
    return planes.transpose(0, 2, 3, 1), labels
