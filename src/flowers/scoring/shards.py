"""The Parquet files that a job leaves: each is there whole, or not at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flowers import files
from flowers.errors import WorldError
from flowers.scoring import rows as columns
from flowers.scoring.roster import Roster

_KEY = b"flowers"  # of a shard's own facts in the file's metadata
_MANY = 10  # photos of a shard that are all denied: then the rights are wrong, not the photos


@dataclass(frozen=True)
class Tally:
    """What came of photos: how many of each class, like none of them, and without an answer."""

    classes: Counter
    refused: int = 0  # photos that look like none of the classes
    broken: int = 0  # photos that could not be read

    @property
    def photos(self) -> int:
        return sum(self.classes.values()) + self.refused + self.broken

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.classes + other.classes,
            self.refused + other.refused,
            self.broken + other.broken,
        )

    def as_dict(self) -> dict:
        """As JSON has it."""
        return {"classes": dict(self.classes), "refused": self.refused, "broken": self.broken}


@dataclass(frozen=True)
class Shards:
    """The shards of one job in a folder.

    stamp: model and list of photos in one hash; a shard with another one does not belong to it.
    """

    folder: Path
    roster: Roster
    stamp: str

    def path(self, shard: int) -> Path:
        """Where a shard lies; readers of Parquet folders find it by its ending."""
        return self.folder / f"shard-{shard:07d}.parquet"

    def finished(self, shard: int) -> Tally | None:
        """What is in a finished shard; None where there is none that is whole and of this job."""
        try:
            found = pq.read_metadata(self.path(shard))
            facts = json.loads((found.metadata or {}).get(_KEY, b"{}"))
            whole = found.num_rows == self.roster.size(shard)
            if not whole or (facts["stamp"], facts["shard"]) != (self.stamp, shard):
                return None
            return Tally(Counter(facts["classes"]), facts["refused"], facts["broken"])
        except (OSError, ValueError, KeyError, TypeError):  # ArrowInvalid is a ValueError
            return None

    def write(self, shard: int, table: pa.Table) -> Tally:
        """Writes a shard in one step.

        Args:
            shard: its number.
            table: one row a photo, in the order of the list, with the columns of `rows.numbered`.

        Raises:
            WorldError: the disk is full or read-only, or no photo of the shard may be read, and it
                has ten of them or all of the job.
        """
        first = shard * self.roster.shard
        if table[columns.NUMBER].to_pylist() != [*range(first, first + self.roster.size(shard))]:
            raise ValueError(f"Rows that are not those of shard {shard}.")
        many = len(table) >= min(_MANY, self.roster.photos)
        if many and columns.may_not_be_read(table):
            raise WorldError(
                "photos that may be read",
                f"all {len(table):,} of shard {shard} are denied, from {table['path'][0]} on",
                "Ask for the right to read them, or set its credentials in the environment; "
                "finished shards are kept.",
            )
        tally = count(table)
        facts = {"stamp": self.stamp, "shard": shard, **tally.as_dict()}
        kept = table.drop_columns([columns.NUMBER])
        kept = kept.replace_schema_metadata(
            {**(table.schema.metadata or {}), _KEY: json.dumps(facts).encode()}
        )
        with files.atomic(self.path(shard)) as temporary:
            pq.write_table(kept, temporary, compression="zstd")
        return tally

    def fill(
        self, wanted: Sequence[int], tables: Iterable[pa.Table]
    ) -> Iterator[tuple[int, Tally]]:
        """Writes shards as their rows come, in order; yields (rows that came, what was finished).

        Args:
            wanted: numbers of the shards that the rows are of, in order.
            tables: rows in the order of the list; a table may end in one shard and begin the next.

        Raises:
            WorldError: as `write` does.
        """
        waiting: list[pa.Table] = []
        left = iter(wanted)
        shard = next(left, None)
        for table in tables:
            came, done = len(table), Tally(Counter())
            waiting.append(table)
            while shard is not None and sum(map(len, waiting)) >= self.roster.size(shard):
                rows = pa.concat_tables(waiting)
                size = self.roster.size(shard)
                done += self.write(shard, rows.slice(0, size))
                waiting = [rows.slice(size)] if len(rows) > size else []
                shard = next(left, None)
            yield came, done
        if shard is not None or waiting:
            raise ValueError("Rows that do not fill the shards.")


def count(table: pa.Table) -> Tally:
    """What came of the photos of a table."""
    classes: Counter = Counter()
    refused = broken = 0
    columns_of = (table[name].to_pylist() for name in ("label", "known", "error"))
    for label, known, error in zip(*columns_of, strict=True):
        broken += error is not None
        refused += error is None and known is False
        if error is None and known is not False:
            classes[label] += 1
    return Tally(classes, refused, broken)
