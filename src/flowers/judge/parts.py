"""What a page is made of.

The page is a list of sections, and a section a list of parts: a picture, photos, a table, facts,
words. Whoever measures something more adds a Section; the template does not change. On a wide
screen pictures stand to the right of the words, galleries below them; on a phone all is one column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure with what it shows in words, for those who cannot see it."""

    kind: ClassVar[str] = "picture"
    place: ClassVar[str] = "seen"
    figure: Figure
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Photo:
    """One photo: uint8 [H, W, 3], or None where it cannot be read; `lines` stand below it.

    `wrong` sets the first line in the colour of mistakes.
    """

    pixels: np.ndarray | None
    alt: str
    lines: tuple[str, ...]
    name: str = ""  # its file
    wrong: bool = False


@dataclass(frozen=True)
class Photos:
    """A gallery that flows into as many columns as there is room for."""

    kind: ClassVar[str] = "photos"
    place: ClassVar[str] = "across"
    photos: tuple[Photo, ...]


@dataclass(frozen=True)
class Table:
    """Rows of texts; a cell that is a pair shows its second text smaller, below the first."""

    kind: ClassVar[str] = "table"
    place: ClassVar[str] = "said"
    columns: tuple[str, ...]
    rows: tuple[tuple[str | tuple[str, str], ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values; `command` is set in a typewriter face."""

    kind: ClassVar[str] = "facts"
    place: ClassVar[str] = "said"
    facts: tuple[tuple[str, str], ...]
    command: str = ""


@dataclass(frozen=True)
class Words:
    """Paragraphs, or the points of a list."""

    kind: ClassVar[str] = "words"
    place: ClassVar[str] = "said"
    lines: tuple[str, ...]
    points: bool = False


@dataclass(frozen=True)
class Section:
    """A heading, one or two plain sentences, and what there is to see.

    Args:
        anchor: a word for links within the page, unique on it.
        title: the heading.
        lead: what the reader should take away, and what any term means.
        parts: pictures first.
    """

    anchor: str
    title: str
    lead: str
    parts: tuple[Picture | Photos | Table | Facts | Words, ...]


@dataclass(frozen=True)
class Tile:
    """One number of the strip at the top, with the line that explains it."""

    value: str
    name: str
    note: str
