"""Sets that others publish as archives: downloaded, unpacked and put in order, whole or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flowers import download, files
from flowers.errors import InputError, WorldError

# (archive, new empty folder): leaves in the folder class folders, or train/ and test/ of them
Arrange = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Published:
    """An archive on an open server."""

    url: str
    size_limit: int  # bytes; a longer answer is refused
    sha256: str | None = None
    md5: str | None = None
    attempts: int = 4

    @property
    def host(self) -> str:
        """The server's name, for messages."""
        return urlsplit(self.url).hostname or self.url


def fetch(place: Published, target: Path, arrange: Arrange) -> Path:
    """Makes the folder `target` from the archive, unless it is there; the archive is not kept.

    Raises:
        WorldError: the download fails, or what comes is damaged or another set.
    """
    with files.locked(target):
        if target.is_dir() and any(target.iterdir()):
            return target
        archive = target.with_name(f"{target.name}.archive")
        download.fetch(
            place.url,
            archive,
            sha256=place.sha256,
            md5=place.md5,
            size_limit=place.size_limit,
            attempts=place.attempts,
        )
        try:
            with files.atomic_folder(target) as temporary:
                arrange(archive, temporary)
        except InputError as error:
            raise WorldError(
                f"{error.expected} from {place.url}",
                error.received,
                "Try again later, or get the set by hand and name its path: "
                f"--data {target.name}:PATH.",
            ) from error
        finally:
            archive.unlink(missing_ok=True)
    return target


def unpack(archive: Path, folder: Path, arrange: Arrange, beside: Path | None = None) -> Path:
    """Makes a folder from an archive of the user's, once: it is named after the content.

    Args:
        archive: a file.
        folder: where sets are kept.
        arrange: what to leave of it.
        beside: a second file that `arrange` reads as well.

    Raises:
        InputError: the archive cannot be used.
    """
    with files.world(archive):
        digest = files.sha256(archive)
        if beside is not None:
            digest = files.sha256(beside)[:6] + digest
    target = folder / "archives" / f"{archive.name.split('.')[0][:80]}-{digest[:12]}"
    with files.locked(target):
        if not target.is_dir():
            with files.atomic_folder(target) as temporary:
                arrange(archive, temporary)
    return target
