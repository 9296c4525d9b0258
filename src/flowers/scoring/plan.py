"""What an engine needs to know: the model, how much at once, and which photos in which order."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flowers.scoring.roster import Roster

SHARD = 1_000  # photos of a Parquet file: what a kill can cost, half a minute of one core
BATCH = 64  # photos that a worker is given at a time: a second or two of one core
RETRIES = 3  # times that a worker may die over the same photos

Photo = tuple[int, str]  # its place in the list, its path or URI


@dataclass(frozen=True)
class Plan:
    """How photos are scored; small, since every piece of work carries it.

    model: the exported file; views: looks at a photo; roots: how each store is opened;
    workers: processes, None for one a core; batch: photos of a piece of work;
    address: of a Ray cluster, None for one on this machine.
    """

    model: Path
    views: int = 1
    roots: tuple[tuple[str, str], ...] = ()
    workers: int | None = None
    batch: int = BATCH
    address: str | None = None


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def photos(roster: Roster, shards: Iterable[int]) -> Iterator[Photo]:
    """The photos of some shards, in order; one shard's paths are held at a time."""
    for shard in shards:
        yield from enumerate(roster.paths(shard), shard * roster.shard)


def pieces(wanted: Iterable[Photo], size: int) -> Iterator[list[Photo]]:
    """The same photos, some at a time."""
    source = iter(wanted)
    while piece := list(itertools.islice(source, size)):
        yield piece
