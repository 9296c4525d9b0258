"""Photos made ready for training: got, checked, split, decoded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowers import files
from flowers.config import Config
from flowers.data import catalogue as catalogues
from flowers.data import labels as label_files
from flowers.data import pixels, sources
from flowers.data.catalogue import Catalogue
from flowers.data.pixels import Streamed
from flowers.data.sources import Source
from flowers.data.splits import SPLITS

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Photos:
    """A set of photos, ready: where it came from, its catalogue, its pixels.

    pixels: uint8 [N, size, size, 3], RGB, in the order of `catalogue.usable`.
    room: bytes that features computed from them may take on disk; None for any number.
    """

    source: Source
    catalogue: Catalogue
    pixels: np.ndarray | Streamed
    room: int | None = None


def prepare(
    source: str | Source,
    config: Config,
    *,
    data: Path = Path("data"),
    labels: Path | None = None,
    room: int | None = None,
    say: Say = print,
) -> Photos:
    """Gets the photos, checks and splits them, decodes them once.

    Args:
        source: see `data.sources.get`; or what it gave.
        config: seed, size and shares of the splits.
        data: folder for downloads and caches.
        labels: a labels.csv with a person's decisions.
        room: bytes that pixels and features may take on disk together; beyond it they stream.
        say: receives a line for every step.

    Raises:
        InputError: the photos or labels.csv cannot be used.
    """
    decided = label_files.read(labels) if labels else None
    found = source if isinstance(source, Source) else sources.get(source, data, seed=config.seed)
    say(f"photos: {found.reason}")
    listed = catalogues.of(found, seed=config.seed, shares=config.shares)
    if decided is not None:
        listed = label_files.apply(listed, decided, seed=config.seed, shares=config.shares)
        acted = decided["action"].value_counts()
        say(
            f"labels: {acted.get('relabel', 0)} photos relabelled, {acted.get('remove', 0)} removed"
        )
    catalogues.require_trainable(listed)
    left_out = len(listed.table) - len(listed.usable)
    counts = ", ".join(f"{len(listed.rows(split)):,} {split}" for split in SPLITS)
    say(f"catalogue: {counts}; {left_out} left out (see `flowers check {found.folder}`)")
    opened = decode(found, listed, config.size, data, room)
    streamed = ""
    if isinstance(opened.pixels, Streamed):
        count = len(opened.pixels) - len(opened.pixels.kept)
        streamed = f"; {count:,} photos beyond --cache-gb are decoded whenever they are needed"
    say(f"pixels: {files.amount(opened.pixels.nbytes)} in {data / 'cache'}{streamed}")
    return opened


def decode(
    source: Source, catalogue: Catalogue, size: int, data: Path, room: int | None = None
) -> Photos:
    """Decodes the photos of a catalogue, or opens what was decoded before.

    Where both do not fit, pixels take at most half of `room`: features save more time a byte.
    """
    if room is None:
        return Photos(source, catalogue, pixels.cache(catalogue, size, data / "cache"))
    decoded = pixels.cache(catalogue, size, data / "cache", room=room // 2)
    return Photos(source, catalogue, decoded, max(0, room - decoded.nbytes))
