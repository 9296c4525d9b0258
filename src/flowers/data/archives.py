"""Unpacks zip and tar archives: nothing lands outside the folder, nothing fills the disk."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from flowers import files
from flowers.errors import FlowersError, InputError
from flowers.progress import progress

_CHUNK = 128 * 1024  # bytes read at a time
_LONGEST_READ = 1024 * 1024  # bytes: tarfile reads a header at one go, however long it says it is
_LONGEST_NAME = 255, 1024  # bytes of one part and of the whole, as the common file systems allow
_BY_HAND = "If you trust it, unpack it by hand and name the folder instead."
_FOREIGN = (  # how files that we do not unpack begin, for the error message
    (rb"Rar!", "a RAR archive"),
    (rb"7z\xbc\xaf", "a 7-Zip archive"),
    (rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "an archive of another kind"),
    (rb"%PDF", "a PDF document"),
    (rb"\xff\xd8\xff|\x89PNG", "a single photo"),
    (rb"(?s)\s*<", "an HTML page"),
    (rb"version https://git-lfs", "a Git LFS pointer instead of the archive"),
)


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive of photos stays far below, and a bomb does not."""

    files: int = 200_000  # files and folders together
    bytes: int = 20_000_000_000  # written in all
    ratio: int = 100  # bytes written for one of the archive; photos are near 1, text near 5
    member: int = 512_000_000  # bytes of one file
    free: int = 1_000_000  # bytes written before the ratio counts: ten tiny drawings are no bomb


LIMITS = ArchiveLimits()


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class _Member:
    name: str
    is_folder: bool
    open: Callable[[], contextlib.AbstractContextManager[_Reader]]
    position: int  # bytes of the archive gone through, for the progress bar


def unpack(
    archive: str | os.PathLike, folder: str | os.PathLike, *, limits: ArchiveLimits = LIMITS
) -> Path:
    """Unpacks a zip, tar or tgz archive into the new folder `folder` and returns the folder.

    All or nothing: a kill or an error leaves no `folder`. Names that lead outside, links, devices,
    repeated names and names that differ by case alone are refused, and so are archives that are
    damaged, encrypted or larger than `limits`, by the bytes that come out and not by those that
    are declared. Archives within the archive stay files. Modes, owners and dates are not kept.

    Raises:
        InputError: the archive is refused; the reason and the member's name are in the message.
        WorldError: the disk is full, or `folder` holds something.
    """
    archive, folder = Path(archive), Path(folder)
    members = _READERS[kind(archive)]
    size = archive.stat().st_size
    files.require_space(folder, size, f"the photos of {archive.name}")
    bar = progress((), "unpacking", total=size, unit="B")
    bar.unit_scale = True
    with bar, files.atomic_folder(folder) as temporary:
        target = _Target(archive, temporary, limits, size)
        with _damage(archive):
            for member in members(archive, temporary):
                target.add(member)
                bar.update(member.position - bar.n)
        if not target.written:
            raise InputError(
                f"photos in {archive}", "an archive without a file", "Name another archive."
            )
    return folder


def kind(archive: str | os.PathLike) -> str:
    """What an archive is by its first bytes, whatever its ending: "zip", "tar" or "tgz".

    Raises:
        InputError: it is no file, or none of these.
    """
    archive = Path(archive)
    expected = f"a .zip, .tar, .tgz or .tar.gz archive at {archive}"
    if not archive.is_file():
        received = "a folder" if archive.is_dir() else "no such file"
        raise InputError(expected, received, "Correct the path.")
    with files.world(archive), archive.open("rb") as file:
        head = file.read(512)
    if re.match(rb"PK\x03\x04|PK\x05\x06", head):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "tgz"
    if head[257:262] == b"ustar" or (len(head) == 512 and _is_old_tar(head)):
        return "tar"
    named = (name for pattern, name in _FOREIGN if re.match(pattern, head))
    received = next(named, f"a file that begins with {head[:8]!r}" if head else "an empty file")
    raise InputError(expected, received, "Name a folder of class folders, or a zip or tgz of it.")


def _is_old_tar(head: bytes) -> bool:
    """Whether a block without a magic word is a tar header: its checksum tells."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


@dataclass
class _Target:
    """Where members go: checks their names and counts what they write."""

    archive: Path
    folder: Path
    limits: ArchiveLimits
    size: int  # bytes of the archive
    written: int = 0  # files
    total: int = 0  # bytes
    seen: dict[str, tuple[str, bool]] = field(default_factory=dict)  # compared -> (spelt, folder?)

    def add(self, member: _Member) -> None:
        parts = self._parts(member.name)
        if not parts:
            return  # the archive's own root, "./"
        self._claim(parts, member.is_folder)
        path = self.folder.joinpath(*parts)
        if member.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, path.open("xb") as file:
            self._copy(source, file, member.name)
        self.written += 1

    def refuse(self, received: str) -> InputError:
        return InputError("an archive of photos that is safe to unpack", received, _BY_HAND)

    def _parts(self, name: str) -> list[str]:
        shown = f"{self.archive} with the member {name[:80]!a}"
        unix = name.replace("\\", "/")
        parts = [part for part in unix.split("/") if part not in ("", ".")]
        if unix.startswith("/") or re.match(r"[A-Za-z]:", unix):
            raise self.refuse(f"{shown}, an absolute path")
        if ".." in parts:
            raise self.refuse(f"{shown}, which leads out of the folder")
        if re.search(r"[\x00-\x1f\x7f]", name):
            raise self.refuse(f"{shown}, which has control characters in its name")
        if max([len(os.fsencode(part)) for part in parts], default=0) > _LONGEST_NAME[0] or (
            len(os.fsencode(unix)) > _LONGEST_NAME[1]
        ):
            raise self.refuse(f"{shown}, a name of {len(os.fsencode(unix)):,} bytes")
        return parts

    def _claim(self, parts: list[str], is_folder: bool) -> None:
        """Books a path and the folders above it; each may be a folder often, a file once."""
        for length in range(1, len(parts) + 1):
            spelt, folder = "/".join(parts[:length]), is_folder or length < len(parts)
            key = unicodedata.normalize("NFC", spelt).casefold()
            before = self.seen.get(key)
            self.seen.setdefault(key, (spelt, folder))
            if before and before[0] != spelt:
                both = f"{before[0]!a} and {spelt!a}"
                raise self.refuse(f"{self.archive} with {both}, one name where case is ignored")
            if before and not (folder and before[1]):
                raise self.refuse(f"{self.archive} with {spelt!a} twice")
        if len(self.seen) > self.limits.files:
            raise self.refuse(f"{self.archive} with more than {self.limits.files:,} files")

    def _copy(self, source: _Reader, file: io.BufferedWriter, name: str) -> None:
        allowed = max(self.limits.free, self.limits.ratio * self.size)
        count = 0
        while chunk := source.read(_CHUNK):
            count += len(chunk)
            self.total += len(chunk)
            if count > self.limits.member:
                most = f"more than {self.limits.member / 1e6:,.0f} MB"
                raise self.refuse(f"{self.archive} with {most} in {name[:80]!a}")
            if self.total > self.limits.bytes:
                raise self.refuse(
                    f"{self.archive} with more than {self.limits.bytes / 1e9:,.0f} GB in all"
                )
            if self.total > allowed:
                raise self.refuse(
                    f"{self.archive} that grows more than {self.limits.ratio}-fold when unpacked"
                )
            file.write(chunk)


def _zip_members(archive: Path, _folder: Path) -> Iterator[_Member]:
    position = 0
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            special = stat.S_IFMT(info.external_attr >> 16)
            if special not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _special(archive, info.filename)
            if info.flag_bits & 0x1:
                raise InputError(
                    f"an archive without a password at {archive}",
                    f"{info.filename[:80]!a} is encrypted",
                    "Unpack it by hand and name the folder instead.",
                )
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InputError(
                    f"a zip with the usual compression (stored or deflate) at {archive}",
                    f"method {info.compress_type}",
                    "Pack it again as an ordinary zip or tgz.",
                )
            position += info.compress_size

            def open_member(info: zipfile.ZipInfo = info) -> contextlib.AbstractContextManager:
                return packed.open(info)

            # `orig_filename` still has what zipfile cuts off behind a NUL.
            yield _Member(info.orig_filename, info.is_dir(), open_member, position)


def _tar_members(archive: Path, folder: Path) -> Iterator[_Member]:
    with archive.open("rb") as raw, _plain_or_gzip(raw) as stream:
        guarded = _Guarded(stream)
        with tarfile.open(fileobj=guarded, mode="r:") as packed:
            while (info := packed.next()) is not None:
                packed.members.clear()  # tarfile would keep every header in memory
                if not (info.isreg() or info.isdir()) or info.issparse():
                    raise _special(archive, info.name)

                def open_member(info: tarfile.TarInfo = info) -> contextlib.AbstractContextManager:
                    if hasattr(tarfile, "data_filter"):  # since Python 3.11.4: a second belt
                        tarfile.data_filter(info, str(folder))
                    return packed.extractfile(info)

                yield _Member(info.name, info.isdir(), open_member, raw.tell())
        guarded.finish()


def _plain_or_gzip(raw: io.BufferedReader) -> contextlib.AbstractContextManager:
    is_gzip = raw.peek(2)[:2] == b"\x1f\x8b"
    return gzip.GzipFile(fileobj=raw) if is_gzip else contextlib.nullcontext(raw)


_READERS = {"zip": _zip_members, "tar": _tar_members, "tgz": _tar_members}


class _Guarded:
    """A stream for tarfile that closes three of its gaps.

    tarfile reads a whole extended header into memory, however long it is; it takes a broken header
    in the middle for the end; and it never reads on to gzip's checksum.
    """

    def __init__(self, stream: io.BufferedIOBase):
        self._stream, self._last = stream, b""
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > _LONGEST_READ:
            raise ValueError(f"a header of {size:,} bytes")
        self._last = self._stream.read(size)
        return self._last

    def finish(self) -> None:
        """Checks that the archive ended where it should, and reads the padding behind it."""
        if len(self._last) != tarfile.BLOCKSIZE or any(self._last):
            raise ValueError("it breaks off, or a header in it is damaged")
        behind = 0
        while chunk := self._stream.read(_CHUNK):
            behind += len(chunk)
            if behind > _LONGEST_READ:
                raise ValueError("much more follows behind its end")


def _special(archive: Path, name: str) -> InputError:
    return InputError(
        "an archive of plain files and folders",
        f"{archive} with a link, a device or something else in it: {name[:80]!a}",
        _BY_HAND,
    )


@contextlib.contextmanager
def _damage(archive: Path) -> Iterator[None]:
    """Whatever a parser raises over a hostile file means one thing to the user: it is damaged."""
    try:
        yield
    except FlowersError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise  # the disk's, not the archive's
        telling = (ValueError, EOFError, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError)
        detail = f" ({str(error)[:120]})" if isinstance(error, telling) else ""
        raise InputError(
            f"a whole archive at {archive}",
            f"a damaged one{detail}",
            "Download or copy it again.",
        ) from error
