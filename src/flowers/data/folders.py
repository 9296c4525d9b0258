"""Where in a folder the class folders are: below it, nested in it, or below train/ and test/."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from flowers.data import listing
from flowers.errors import InputError

_PHOTOS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".mpo")
)
_CLUTTER = ("__MACOSX", "@eaDir")
_DEEPEST = 6  # folders within folders that are gone through to the class folders
_SHAPE = "at least two class folders, <class>/<photo>, in"


def class_root(folder: str | os.PathLike, shown: str | os.PathLike | None = None) -> Path:
    """The folder that holds the class folders: `folder`, or what it is nested in.

    Goes down through single folders, as in flowers/flowers/. A class folder has at least one file
    in it; hidden files and what systems leave behind do not count. Of a set that comes split it
    is the folder of train/ and test/, which must hold the same classes.

    Args:
        folder: where to look.
        shown: what the messages call it, where the user knows it by another name.

    Raises:
        InputError: there is no such folder, it holds fewer than two class folders, or one of its
            parts lacks a class.
    """
    folder = Path(folder)
    shown = str(shown or folder)
    if not folder.is_dir():
        received = "a file" if folder.exists() else "no such folder"
        raise InputError(f"{_SHAPE} {shown}", received, "Correct the path.")
    if root := _split_root(folder):
        _require_same_classes(root, shown)
        return root
    for photos_only in (True, False):
        root, classes = _deepest(folder, photos_only, _DEEPEST)
        if len(classes) > 1:
            return root
    if classes:
        received = f"one class folder only, {classes[0].name}"
        remedy = "Add a folder of photos of something else: a classifier needs two classes."
    elif parts := [part for part in _folders(root) if len(_classes(part)) > 1]:
        received = f"no class folder, but sets of them in {' and '.join(p.name for p in parts)}"
        remedy = f"Name one of them, such as {parts[0].name}."
    elif found := _files(root):
        received = f"no class folder, but {len(found):,} files"
        remedy = "Put the photos of each class into a folder of its own, named after the class."
    else:
        received = "no class folder with a file in it"
        remedy = "Put the photos of each class into a folder of its own, named after the class."
    raise InputError(f"{_SHAPE} {shown}", received, remedy)


def there(folder: Path | None) -> Path | None:
    """The class root in `folder`, if there is one."""
    try:
        return class_root(folder) if folder else None
    except InputError:
        return None


def count(root: Path, only: Collection[str] = ()) -> str:
    """How many photos and classes a folder of class folders has, in words; `only` some of them."""
    found = [files for name, files in sizes(root).items() if not only or name in only]
    return f"{sum(found):,} photos of {len(found)} classes"


def sizes(root: Path) -> dict[str, int]:
    """How many files the class folders have, by name; of a set that comes split, in all parts."""
    found: dict[str, int] = {}
    for part in listing.parts(root) or ("",):
        for inner in _classes(root / part):
            found[inner.name] = found.get(inner.name, 0) + len(_files(inner))
    return found


def _split_root(folder: Path) -> Path | None:
    """The folder of train/ and test/, `folder` or nested in it; None where there is none."""
    for _ in range(_DEEPEST):
        if listing.parts(folder):
            return folder
        nested = _folders(folder)
        if len(nested) != 1:
            return None
        folder = nested[0]
    return None


def _require_same_classes(root: Path, shown: str) -> None:
    classes = {
        part: {inner.name for inner in _classes(root / part)} for part in listing.parts(root)
    }
    every = set().union(*classes.values())
    lacking = [
        f"no {', '.join(sorted(every - names))} in {part}"
        for part, names in classes.items()
        if names != every
    ]
    if lacking or len(every) < 2:
        raise InputError(
            f"the same classes, at least two, in {' and '.join(classes)} of {shown}",
            "; ".join(lacking) or f"{len(every)} of them",
            "Add the missing class folders, or name one of the parts, such as train.",
        )


def _deepest(folder: Path, photos_only: bool, depth: int) -> tuple[Path, list[Path]]:
    """The folder with the class folders and these, or what comes nearest to it."""
    classes = _classes(folder, photos_only)
    nested = [inner for inner in _folders(folder) if _folders(inner)]
    if len(classes) < 2 and len(nested) == 1 and depth:
        below, found = _deepest(nested[0], photos_only, depth - 1)
        if len(found) > len(classes):
            return below, found
    return folder, classes


def _classes(folder: Path, photos_only: bool = False) -> list[Path]:
    """Folders with a file in them, or with one whose name ends as a photo's does."""
    return [
        inner
        for inner in _folders(folder)
        if any(path.suffix.lower() in _PHOTOS or not photos_only for path in _files(inner))
    ]


def _folders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _files(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_file()]


def _visible(folder: Path) -> list[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"a folder that may be read at {folder}", str(error.strerror), "Change its permissions."
        ) from error
    return [path for path in paths if not path.name.startswith(".") and path.name not in _CLUTTER]
