"""A bar with an estimate for whatever takes more than two seconds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(items: Iterable, what: str, total: int | None = None, unit: str = "photo") -> tqdm:
    """Wraps `items` in a progress bar on stderr that appears after two seconds.

    On a terminal and in a notebook the bar moves; in a log it prints a line twice a minute.
    `FLOWERS_PROGRESS=off` silences it (the notebook tests compare what is printed).

    Args:
        items: what to go through.
        what: two or three words shown before the bar.
        total: how many items there are, where `items` has no length.
        unit: what one item is.
    """
    live = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(
        items,
        desc=what,
        total=total,
        unit=f" {unit}",
        delay=2,
        mininterval=0.2 if live else 30,
        dynamic_ncols=live,
        leave=False,
        file=sys.stderr,
        disable=os.environ.get("FLOWERS_PROGRESS") == "off",
    )
