"""Buckets and other file systems behind a URI, through pyarrow or else fsspec."""

from __future__ import annotations

import errno
import functools
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowers.data import listing
from flowers.errors import FlowersError, InputError, WorldError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

NATIVE = ("s3", "gs", "gcs")  # which pyarrow speaks by itself, bucket first
ATTEMPTS = 4  # of one request, before the store counts as out of reach
NATIVE_ATTEMPTS = 2  # where the client below asks several times by itself, for some 6 s
PAUSE = 0.5  # seconds before the second attempt; doubled before each further one
DENIED = "a photo that may not be read"
MISSING = "no such photo"

_URI = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://(?:(?P<secret>[^/@]*)@)?(?P<place>.*)")
_MAGIC = re.compile(r"[*\[]")  # "?" begins a URI's options

Roots = Mapping[
    str, str
]  # "s3://bucket" -> the URI that opens it, credentials and options included


@dataclass(frozen=True)
class Place:
    """Where a URI points, apart from how its store is opened.

    scheme: "s3", "memory", ...; path: what follows, without credentials and options;
    root: scheme and bucket or host; opener: the URI that opens the root.
    """

    scheme: str
    path: str
    root: str
    opener: str

    @property
    def address(self) -> str:
        """The URI as it may be shown: without credentials and options."""
        return f"{self.scheme}://{self.path}"


def is_uri(source: str) -> bool:
    """Whether a text names something in a store rather than a file here."""
    return _URI.fullmatch(source) is not None


def place(uri: str, *, photo: bool = False) -> Place:
    """Takes a URI apart; of a photo's, "?" and all that follows belong to its name.

    Raises:
        InputError: it names no bucket, host or folder.
    """
    found = _URI.fullmatch(uri)
    if found is None or not found["place"]:
        raise InputError("a URI such as s3://bucket/photos", uri, "Correct it.")
    scheme, path, options = found["scheme"], found["place"], ""
    if scheme in NATIVE and not photo:  # elsewhere "?" is a letter of a name
        path, _, options = path.partition("?")
    host = path.split("/", 1)[0]
    secret = f"{found['secret']}@" if found["secret"] else ""
    opener = f"{scheme}://{secret}{host}" + (f"?{options}" if options else "")
    return Place(scheme, path, f"{scheme}://{host}", opener)


@functools.lru_cache(maxsize=64)  # a connection a bucket, kept by each process
def _opened(opener: str) -> FileSystem:
    """The file system that a root's URI opens."""
    from pyarrow import fs

    scheme = opener.split("://", 1)[0]
    if scheme in NATIVE:
        return fs.FileSystem.from_uri(opener)[0]
    import fsspec

    # its list of a folder's names would stay in memory and grow old
    found, _ = fsspec.core.url_to_fs(opener, use_listings_cache=False)
    return fs.PyFileSystem(fs.FSSpecHandler(found))


def open_store(where: Place, roots: Roots) -> tuple[FileSystem, str]:
    """The store of a place, and the place's path in it.

    Raises:
        InputError: no installed package speaks its scheme, or the URI's form is wrong.
        WorldError: it cannot be reached.
    """
    opener = roots.get(where.root, where.opener)
    try:
        store = _opened(opener)
    except (ImportError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise InputError(
            f"a store that can be opened at {where.root}",
            _reason(error),
            "Correct the URI, or install the package that speaks its scheme (s3fs, gcsfs, "
            "adlfs, aiohttp for http).",
        ) from error
    except OSError as error:
        raise unreachable(where.address, error) from error
    if where.scheme in NATIVE:
        return store, where.path.rstrip("/")
    return store, store.handler.fs._strip_protocol(where.address)


def walk(uri: str, roots: Roots) -> Iterator[str]:
    """URIs of the photos below a folder, of one photo, or of those that a pattern means.

    One folder's names are held at a time, whatever lies below. A file is taken as a photo when its
    name ends like one, or has no ending; the pattern of a glob takes what it means.

    Raises:
        InputError: nothing is there.
        WorldError: the store cannot be reached, or does not let its names be listed.
    """
    from pyarrow.fs import FileSelector, FileType

    where = place(uri)
    wanted, start = _pattern(where.path)
    base = Place(where.scheme, start, where.root, where.opener)
    store, top = open_store(base, roots)
    kind = retried(base.address, lambda: store.get_file_info(top)).type
    if kind == FileType.File:
        yield _address(where.scheme, top)
        return
    if kind == FileType.NotFound:
        raise InputError(f"photos at {base.address}", "nothing of that name", "Correct the URI.")
    below = [top]
    while below:
        folder = below.pop()
        address = _address(where.scheme, folder)
        found = retried(address, lambda at=folder: store.get_file_info(FileSelector(at)))
        for info in found:
            if info.type == FileType.Directory:
                below.append(info.path)
            elif wanted.match(info.path.lstrip("/")) if wanted else _named_as_photo(info.base_name):
                yield _address(where.scheme, info.path)


def read(uri: str, roots: Roots, limit: int) -> bytes:
    """A photo's bytes, at most limit + 1 of them, so that too large a file shows.

    Raises:
        InputError: it is not there, or may not be read.
        WorldError: the store cannot be reached.
    """
    where = place(uri, photo=True)
    store, path = open_store(where, roots)

    def content() -> bytes:
        with store.open_input_stream(path) as stream:
            return stream.read(limit + 1)

    return retried(where.address, content, photo=True)


def retried(address: str, request, *, photo: bool = False):
    """What `request()` gives; tried again with pauses while the store does not answer.

    Raises:
        InputError: for a photo that is missing or denied.
        WorldError: for anything else that is denied, and where the store stays out of reach.
    """
    attempts = NATIVE_ATTEMPTS if address.split("://")[0] in NATIVE else ATTEMPTS
    for attempt in range(attempts):
        try:
            return request()
        except FlowersError:
            raise
        except FileNotFoundError as error:
            remedy = "It was removed meanwhile: list the photos again."
            raise InputError(f"the photo {address}", MISSING, remedy) from error
        except Exception as error:  # fsspec's file systems raise what they like
            if _is_denied(error):
                if photo:
                    raise InputError(f"the photo {address}", DENIED, _RIGHTS) from error
                raise WorldError(f"to list {address}", _reason(error), _RIGHTS) from error
            if attempt + 1 == attempts:
                raise unreachable(address, error) from error
        time.sleep(PAUSE * 2**attempt)
    return None


def unreachable(address: str, error: BaseException) -> WorldError:
    """What to say when a store does not answer."""
    return WorldError(
        f"to reach {address}",
        _reason(error),
        "Check the network, the endpoint and the credentials; the same command goes on from here.",
    )


_RIGHTS = "Ask for the right to list and read it, or set its credentials in the environment."


def _is_denied(error: Exception) -> bool:
    text = str(error)
    words = ("ACCESS_DENIED", "HTTP status 401", "HTTP status 403", "Forbidden")
    number = getattr(error, "errno", None)
    return number in (errno.EACCES, errno.EPERM) or any(word in text for word in words)


def _reason(error: BaseException) -> str:
    """One line of what a library says, without an address that may carry credentials."""
    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"//[^/@\s]*@", "//", text)[:200]


def _address(scheme: str, path: str) -> str:
    """The URI of a path that a store gave; http's paths are URIs already."""
    return path if "://" in path else f"{scheme}://{path.lstrip('/')}"


def _pattern(path: str) -> tuple[re.Pattern | None, str]:
    """A glob as a pattern of whole paths, and the folder above its first wildcard."""
    if not _MAGIC.search(path):
        return None, path
    from fsspec.utils import glob_translate

    fixed = path[: _MAGIC.search(path).start()]
    return re.compile(glob_translate(path.lstrip("/"))), fixed.rpartition("/")[0]


def _named_as_photo(name: str) -> bool:
    return name[:1] not in ("", ".", "_") and ("." not in name or listing.has_photo_ending(name))
