"""The one place that writes: a kill leaves the old file or the new one, never half of it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from flowers.errors import FlowersError, InputError, WorldError

LONGEST = 7 * 24 * 3600.0  # seconds that a process may train before those who wait give up
_ASIDE = ".old"  # ends the name of a folder that makes room for another
_PARTIAL = re.compile(r"^\.(?P<name>.+)\.(?P<pid>\d+)\.partial(\.[^.]+)*$")


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it becomes `path` in one step.

    Raises:
        WorldError: the disk is full, read-only, or the folder cannot be made.
    """
    with beside(path) as temporary:
        yield temporary
        publish(temporary, Path(path))


@contextlib.contextmanager
def beside(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`, for what is not to be seen yet.

    The temporary name ends as `path` does, since some writers (Keras, OpenVINO) look at the
    ending. What is there at the end is removed, unless it was published.

    Raises:
        WorldError: the disk is full, read-only, or the folder cannot be made.
    """
    path = Path(path)
    with world(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
    endings = "".join(path.suffixes[-2:])
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial{endings}")
    try:
        with world(path):
            yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike, *, replace: bool = False) -> Iterator[Path]:
    """Yields an empty temporary folder beside `path`; on success it becomes `path` in one step.

    Every file is flushed before the rename. A folder cannot be swapped for another in one step, so
    one that is to be replaced goes aside for a moment; after a kill in that moment the next write
    in the parent folder brings it back (`sweep`).

    Args:
        path: new, or an empty folder.
        replace: take the place of what is there.

    Raises:
        WorldError: `path` holds something, or the disk is full, read-only, or out of reach.
    """
    path = Path(path)
    with world(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        full = path.is_dir() and not path.is_symlink() and any(path.iterdir())
        if path.is_symlink() or path.is_file() or (full and not replace):
            raise WorldError(
                f"to make the folder {path}",
                "something else has that name",
                "Move it away, or choose another name.",
            )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial{_ASIDE}")
    try:
        with world(path):
            # What a dead process with this number left: containers number theirs from 1 each time.
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            yield temporary
            _flush_all(temporary)
            if full:
                path.rename(aside)
            elif path.is_dir() and os.name == "nt":
                path.rmdir()  # Windows renames onto nothing, not onto an empty folder
            publish(temporary, path)
    finally:
        if aside.is_dir() and not path.exists():
            aside.rename(path)
        for folder in (temporary, aside):
            shutil.rmtree(folder, ignore_errors=True)


def publish(temporary: Path, path: Path) -> None:
    """Flushes what lies beside `path`, gives it that name in one step, and flushes the folder."""
    _flush(temporary)
    temporary.replace(path)
    _flush(path.parent)


@contextlib.contextmanager
def locked(
    path: str | os.PathLike,
    patience: float = 3600,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[None]:
    """Holds the lock of `path`, so that of several processes one makes it and the others wait.

    The lock is the operating system's: it falls when its process ends, however it ends. The empty
    file that carries it, `.NAME.lock`, stays: to remove it would let two processes in at once.

    Args:
        path: what is made under the lock; it need not exist.
        patience: seconds to wait for the others.
        say: receives a line where there is somebody to wait for.

    Raises:
        WorldError: the others take longer, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout  # only who locks pays for it

    path = Path(path)
    with world(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                say(f"waiting for another process that works on {path}")
                lock.acquire(timeout=patience)
        except Timeout:
            raise WorldError(
                f"another process to finish {path} within {patience:,.0f} s",
                "it is still at it",
                "Wait for it, or end it, and try again.",
            ) from None
    try:
        yield
    finally:
        lock.release()


def write_bytes(path: str | os.PathLike, content: bytes) -> Path:
    """Writes `content` to `path` atomically and returns the path."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Writes `text` as UTF-8 to `path` atomically and returns the path."""
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike, value: object) -> Path:
    """Writes `value` as indented JSON to `path` atomically; NaN is refused, since JSON has none."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike) -> object:
    """Reads a JSON file.

    Raises:
        InputError: there is no such file, or it is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"the file {path}", "no such file", "Run `flowers train` first, or correct the path."
        ) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"JSON in {path}", str(error), "Remove the file and make it again."
        ) from error


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    return digest(path, "sha256")


def digest(path: str | os.PathLike, algorithm: str) -> str:
    """A hash of a file's bytes ("sha256", "md5"), in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def amount(count: float) -> str:
    """A number of bytes for people: "512 kB", "1.50 GB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def require_space(folder: str | os.PathLike, needed: int, what: str) -> None:
    """Refuses early when a disk cannot hold `needed` bytes more, rather than late with half.

    Raises:
        WorldError: fewer than `needed` bytes are free where `folder` is, or will be.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise WorldError(
            f"{needed / 1e6:,.0f} MB free in {folder} for {what}",
            f"only {free / 1e6:,.0f} MB free",
            "Free some space, or name a folder on another disk.",
        )


def sweep(folder: Path) -> None:
    """Removes temporary files that processes of this machine left in `folder` when they died.

    A folder that was on its way out when its process died comes back, unless the new one is there.
    """
    for entry in folder.iterdir():
        match = _PARTIAL.match(entry.name)
        if match and not _alive(int(match["pid"])):
            with contextlib.suppress(OSError):
                if entry.suffix == _ASIDE and not (folder / match["name"]).exists():
                    entry.rename(folder / match["name"])
                else:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@contextlib.contextmanager
def world(path: str | os.PathLike) -> Iterator[None]:
    """Turns the operating system's refusals around `path` into a WorldError with a remedy."""
    try:
        yield
    except FlowersError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "The disk is full: free some space, or name a folder on another disk."
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            remedy = "Name a folder that you may write to."
        elif error.errno in (errno.EMFILE, errno.ENFILE):
            remedy = "Too many files are open: close programs or raise `ulimit -n`."
        else:
            remedy = "Check the disk and try again."
        raise WorldError(
            f"to write {path}", f"{error.strerror or error} ({type(error).__name__})", remedy
        ) from error


def _flush(path: Path) -> None:
    """Asks the disk to keep what was written: a file's content or a folder's list of names."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_all(folder: Path) -> None:
    """Flushes everything in a folder: 16 at a time, so that the disk can bundle them."""
    from concurrent.futures import ThreadPoolExecutor

    listing = list(os.walk(folder))
    paths = [Path(parent, name) for parent, _, names in listing for name in names]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(_flush, paths))
    for parent, _, _ in listing:
        _flush(Path(parent))


def _alive(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is there and belongs to somebody else
    return True
