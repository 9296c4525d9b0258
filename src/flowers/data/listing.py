"""Lists what lies in a folder of class folders."""

from __future__ import annotations

import os
from pathlib import Path

from flowers.data.photos import sniff
from flowers.errors import InputError

# Endings that say "this is meant as a photo"; other files count when their content is one.
_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif"),
    *(".tiff", ".mpo", ".heic", ".heif", ".avif", ".jp2", ".svg", ".psd", ".ico", ".dng", ".cr2"),
    *(".nef", ".arw"),
)
_CLUTTER = frozenset({"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini", "painted.json"})


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


def classes(root: Path) -> list[str]:
    """The names of the class folders, sorted; hidden ones and clutter left out.

    A link is followed unless it points back to the root, above it or into it.
    """
    names = []
    for entry in os.scandir(root):
        if _hidden(entry.name) or not entry.is_dir():
            continue
        if entry.is_symlink():
            here, there = root.resolve(), Path(entry.path).resolve()
            if here.is_relative_to(there) or there.is_relative_to(here):
                continue
        names.append(entry.name)
    return sorted(names)


def photos(root: Path) -> list[tuple[str, str]]:
    """(class, path below the root with forward slashes) of every photo, sorted by path."""
    found = []
    for label in classes(root):
        for path in _walk(root / label):
            if _meant_as_photo(path):
                found.append((label, path.relative_to(root).as_posix()))
    return sorted(found, key=lambda pair: pair[1])


def _walk(folder: Path):
    """Every file below `folder` that is not hidden; links to folders are not followed."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        yield from (Path(place, name) for name in sorted(names) if not _hidden(name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _CLUTTER


def _meant_as_photo(path: Path) -> bool:
    if path.suffix.lower() in _ENDINGS:
        return True
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return sniff(file.read(16)) is not None
    except OSError:
        return False
