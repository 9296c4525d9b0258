"""All photos of a job in one order, on disk: sorted, each once, cut into shards."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flowers import files
from flowers.errors import WorldError

_HELD = 50_000  # paths in memory while the list is written: about 10 MB
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -32768;
CREATE TABLE photo (path BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE shard (number INTEGER PRIMARY KEY, first BLOB, photos INTEGER);
CREATE TABLE fact (name TEXT PRIMARY KEY, value);
"""  # no journal: the file is written to the end, flushed and renamed, or thrown away


@dataclass(frozen=True)
class Roster:
    """A list of photos in a file, read piece by piece.

    photos: how many; sha256: over all paths in their order; shard: photos of each shard but the
    last; shards: how many.
    """

    file: Path
    photos: int
    sha256: str
    shard: int

    @property
    def shards(self) -> int:
        return -(-self.photos // self.shard)

    def size(self, shard: int) -> int:
        """How many photos a shard has."""
        return min(self.shard, self.photos - shard * self.shard)

    def paths(self, shard: int) -> list[str]:
        """The photos of a shard, in order."""
        with _reading(self.file) as database:
            (first,) = database.execute(
                "SELECT first FROM shard WHERE number = ?", (shard,)
            ).fetchone()
            rows = database.execute(
                "SELECT path FROM photo WHERE path >= ? ORDER BY path LIMIT ?", (first, self.shard)
            )
            return [os.fsdecode(path) for (path,) in rows]

    def differences(self, other: Roster) -> tuple[int, int]:
        """How many photos of this list the other has not, and the other way round."""
        with _reading(self.file) as database:
            database.execute("ATTACH ? AS other", (_address(other.file),))
            (shared,) = database.execute(
                "SELECT count(*) FROM photo JOIN other.photo USING (path)"
            ).fetchone()
        return self.photos - shared, other.photos - shared


def build(file: Path, paths: Iterable[str], shard: int) -> Roster:
    """Writes the list, atomically: sorted by the paths' bytes, each path once.

    Memory does not grow with the number of photos: they go into the file in pieces, and SQLite
    sorts them there.

    Raises:
        WorldError: the disk is full or read-only.
    """
    with (
        files.atomic(file) as temporary,
        _full_disk(file),
        contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as database,
    ):
        database.executescript(_SCHEMA)
        found = iter(paths)
        while piece := list(itertools.islice(found, _HELD)):
            database.execute("BEGIN")
            database.executemany(
                "INSERT OR IGNORE INTO photo VALUES (?)",
                sorted((os.fsencode(path),) for path in piece),
            )
            database.execute("COMMIT")
        _number(database, shard)
    return load(file)


def load(file: Path) -> Roster:
    """Opens a list that `build` wrote.

    Raises:
        WorldError: the file is damaged.
    """
    with _reading(file) as database:
        facts = dict(database.execute("SELECT name, value FROM fact"))
    return Roster(file, facts["photos"], facts["sha256"], facts["shard"])


def _number(database: sqlite3.Connection, shard: int) -> None:
    """Goes through the sorted list once: its hash, and where each shard begins."""
    digest, count = hashlib.sha256(), 0
    starts: list[tuple[int, bytes, int]] = []
    for (path,) in database.execute("SELECT path FROM photo ORDER BY path"):
        if count % shard == 0:
            starts.append((count // shard, path, shard))
        digest.update(len(path).to_bytes(8, "big") + path)
        count += 1
    database.execute("BEGIN")
    database.executemany("INSERT INTO shard VALUES (?, ?, ?)", starts)
    facts = {"photos": count, "sha256": digest.hexdigest(), "shard": shard}
    database.executemany("INSERT INTO fact VALUES (?, ?)", facts.items())
    database.execute("COMMIT")


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    with (
        _full_disk(file),
        contextlib.closing(sqlite3.connect(_address(file), uri=True)) as database,
    ):
        yield database


def _address(file: Path) -> str:
    """A database that is only read: nothing may write to it, and no journal appears beside it."""
    return f"{file.absolute().as_uri()}?mode=ro&immutable=1"


@contextlib.contextmanager
def _full_disk(file: Path) -> Iterator[None]:
    """SQLite has errors of its own for a disk that is full or damaged."""
    try:
        yield
    except sqlite3.Error as error:
        raise WorldError(
            f"to keep the list of photos in {file}",
            str(error),
            "Free some space, or name a folder on another disk; a damaged list may be removed.",
        ) from error
