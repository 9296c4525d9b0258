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
from flowers.data.sources import Source
from flowers.data.splits import SPLITS

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Photos:
    """A set of photos, ready: where it came from, its catalogue, its pixels.

    pixels: uint8 [N, size, size, 3], RGB, in the order of `catalogue.usable`.
    """

    source: Source
    catalogue: Catalogue
    pixels: np.ndarray


def prepare(
    source: str | Source,
    config: Config,
    *,
    data: Path = Path("data"),
    labels: Path | None = None,
    say: Say = print,
) -> Photos:
    """Gets the photos, checks and splits them, decodes them once.

    Args:
        source: see `data.sources.get`; or what it gave.
        config: size of the photos, shares and seed of the split.
        data: folder for downloads and caches.
        labels: a labels.csv with a person's decisions.
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
    decoded = pixels.cache(listed, config.size, data / "cache")
    say(f"pixels: {files.amount(decoded.nbytes)} in {data / 'cache'}")
    return Photos(found, listed, decoded)
