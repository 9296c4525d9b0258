"""Which photos a SOURCE means, as a stream, and the bytes of one of them."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from flowers.config import PhotoLimits
from flowers.data import listing, photos
from flowers.errors import InputError
from flowers.scoring import stores
from flowers.scoring.stores import Roots

LIMITS = PhotoLimits()
_LONGEST = 65_536  # bytes of a line in a list file: longer ones are no names


def roots(sources: Iterable[str]) -> dict[str, str]:
    """How to open each store that the sources name: "s3://bucket" -> its URI with credentials."""
    places = [stores.place(source) for source in sources if is_remote(source)]
    return {place.root: place.opener for place in places}


def is_remote(source: str) -> bool:
    """Whether a source or a photo lies in a store."""
    return stores.is_uri(_plain(source))


def located(path: str, here: str) -> str:
    """A photo's path for a process that may stand in another folder; URIs as they are."""
    return path if is_remote(path) or not here else str(Path(here, path))


def shown(source: str) -> str:
    """A source as it may be written down: a URI without credentials and options."""
    return stores.place(source).address if is_remote(source) else source


def paths(source: str, known: Roots) -> Iterator[str]:
    """The photos of a folder, a glob, a list file, a URI or a photo, in no order.

    They are yielded as they are found: what is held is one folder's names in a store and in a
    glob, a few names in a folder here. A list file has a path or a URI a line.

    Args:
        source: what to look for; `file://` and a plain path mean the same.
        known: how to open stores, as `roots` gives it.

    Raises:
        InputError: nothing is there, or a folder may not be listed.
        WorldError: a store cannot be reached, or does not let its names be listed.
    """
    source = _plain(source)
    place = Path(source)
    if stores.is_uri(source):
        yield from stores.walk(source, known)
    elif place.is_dir():
        yield from listing.every_photo(source)
    elif place.is_file():
        yield from [source] if listing.meant_as_photo(place) else _listed(place)
    elif glob.has_magic(source):
        found = glob.iglob(source, recursive=True)  # noqa: PTH207 Path.glob takes no absolute one
        yield from (path for path in found if not Path(path).is_dir())
    else:
        raise InputError(
            f"a folder, a glob, a list file or a URI at {source}", "no such file", "Correct it."
        )


def read(path: str, known: Roots, limits: PhotoLimits = LIMITS) -> bytes:
    """One photo's bytes, at most one more than `limits.bytes`.

    Raises:
        PhotoError: it is no regular file, is empty or too large.
        InputError: it is not there, or may not be read.
        WorldError: the disk or the store fails.
    """
    if stores.is_uri(path):
        return stores.read(path, known, limits.bytes)
    return photos.load(path, limits)


def _listed(file: Path) -> Iterator[str]:
    """The lines of a list file that are not empty."""
    with file.open("rb") as content:
        lines = iter(lambda: content.readline(_LONGEST + 1), b"")
        for number, line in enumerate(lines, 1):
            name = line.strip(b"\r\n")
            if b"\0" in name or len(name) > _LONGEST:
                raise InputError(
                    f"a list file with a path or a URI a line in {file}",
                    f"something else in line {number}",
                    "Name a text file, or the photos themselves.",
                )
            if name.strip():
                yield _plain(_decoded(name))


def _decoded(name: bytes) -> str:
    """As the file system spells names: bytes that are no UTF-8 are kept."""
    return name.decode("utf-8", "surrogateescape")


def _plain(source: str) -> str:
    """file:///a%20b -> /a b: the rest knows paths and the URIs of stores."""
    return unquote(source.removeprefix("file://")) if source.startswith("file:///") else source
