"""Lists what lies in a folder of class folders."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from flowers.data.photos import sniff
from flowers.errors import InputError

# Endings that say "this is meant as a photo"; another file is one when its content is.
_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif"),
    *(".tiff", ".mpo", ".heic", ".heif", ".avif", ".jp2", ".svg", ".psd", ".ico", ".dng", ".cr2"),
    *(".nef", ".arw"),
)
_CLUTTER = ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "painted.json")


@dataclass(frozen=True)
class Contents:
    """What lies in a folder; hidden files and what systems leave behind are not mentioned."""

    classes: tuple[str, ...]  # names of the class folders, sorted, empty ones too
    photos: tuple[tuple[str, str], ...]  # (class, path below the root with forward slashes)
    others: tuple[tuple[str, str], ...]  # (path below the root, why it is no photo of a class)


def contents(folder: str | Path, only: Collection[str] = ()) -> Contents:
    """Walks <folder>/<class>/ and below; <folder>/train/<class>/ where the set comes split.

    A class folder may be a link to a folder elsewhere; other links to folders are not followed,
    so that a circle ends.

    Args:
        folder: of the class folders, or of `parts` with class folders in each.
        only: the class folders to take, the others are not mentioned; all of them when empty.

    Raises:
        InputError: there is no such folder, or it may not be listed.
    """
    root = require_folder(folder)
    split = parts(root)
    places = [place for part in split for place in _visible(root / part)] or _visible(root)
    classes, photos, others = [], [], []
    if split:
        others += [(p.name, "outside the class folders") for p in _visible(root) if p.is_file()]
    for place in places:
        path = place.relative_to(root).as_posix()
        if not place.is_dir():
            others.append((path, "outside the class folders"))
        elif place.is_symlink() and _circular(place, root):
            others.append((path, "a link in a circle, not followed"))
        elif not only or place.name in only:
            classes.append(place)
    for folder in classes:
        for place in _walk(folder):
            path = place.relative_to(root).as_posix()
            if place.is_symlink() and place.is_dir():
                others.append((path, "a link to a folder, not followed"))
            elif place.is_dir():
                others.append((path, "a folder that may not be listed"))
            elif meant_as_photo(place):
                photos.append((folder.name, path))
            else:
                others.append((path, "no photo"))
    photos.sort(key=lambda photo: photo[1])
    names = tuple(sorted({folder.name for folder in classes}))
    return Contents(names, tuple(photos), tuple(sorted(others)))


def parts(root: Path) -> tuple[str, ...]:
    """The folders of a set that comes split: ("test", "train"), also with "validation"; () else.

    They hold class folders; with a photo directly in them they are classes themselves.
    """
    names = {place.name for place in _visible(root) if place.is_dir()}
    if names not in ({"train", "test"}, {"train", "validation", "test"}):
        return ()
    inside = [place for name in names for place in _visible(root / name)]
    return () if any(meant_as_photo(p) for p in inside if p.is_file()) else tuple(sorted(names))


def photos_at(place: str | Path) -> list[Path]:
    """The photos that a path means: itself when it is a file, all below it when it is a folder.

    Raises:
        InputError: there is nothing at that path, or a folder may not be read.
    """
    place = Path(place)
    if not place.is_dir():
        if not place.exists():
            raise InputError(f"a photo or a folder at {place}", "no such file", "Correct it.")
        return [place]
    return sorted(path for path in _walk(place) if meant_as_photo(path))


def every_photo(folder: str | Path) -> Iterator[str]:
    """The photos below a folder as they are found, unsorted: no more than a few names are held.

    The same ones as `photos_at` gives; the order is the file system's.

    Raises:
        InputError: a folder may not be read.
    """
    below = [str(folder)]
    while below:
        place = below.pop()
        try:
            with os.scandir(place) as inside:
                for entry in inside:
                    if _is_clutter(entry.name):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.path)
                    elif not entry.is_dir() and meant_as_photo(entry.path):
                        yield entry.path
        except OSError as error:
            raise _unlisted(Path(place), error) from error


def has_photo_ending(name: str) -> bool:
    """Whether a file's name says that it is meant as a photo."""
    return name.lower().endswith(_ENDINGS)


def require_folder(folder: str | Path) -> Path:
    """The folder as an absolute path.

    Raises:
        InputError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"a folder of class folders, {folder}/<class>/<photo>",
            "a file" if folder.exists() else "no such folder",
            "Correct the path, or run `flowers get` to fetch a set.",
        )
    return folder.absolute()


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below `folder`, and every folder that is not entered: links, forbidden ones."""
    below = [folder]
    while below:
        place = below.pop()
        try:
            inside = _visible(place)
        except InputError:
            yield place
            continue
        for found in inside:
            if found.is_dir() and not found.is_symlink():
                below.append(found)
            else:
                yield found


def _visible(folder: Path) -> list[Path]:
    """What lies in one folder, sorted, without hidden files and clutter."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise _unlisted(folder, error) from error
    return [path for path in found if not _is_clutter(path.name)]


def _is_clutter(name: str) -> bool:
    return name in _CLUTTER or name[0] == "."


def _unlisted(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"a folder that can be listed at {folder}",
        error.strerror or str(error),
        "Change its permissions, or move it away.",
    )


def _circular(link: Path, root: Path) -> bool:
    """Whether a link points to the root, above it or into it."""
    here, there = root.resolve(), link.resolve()
    return here.is_relative_to(there) or there.is_relative_to(here)


def meant_as_photo(path: str | Path) -> bool:
    """Whether a file's name or, where that says nothing, its content is a photo's."""
    path = Path(path)
    if has_photo_ending(path.name):
        return True
    if not path.is_file():
        return False  # a pipe or a device would block
    try:
        with path.open("rb") as file:
            return sniff(file.read(16)) is not None
    except OSError:
        return False
