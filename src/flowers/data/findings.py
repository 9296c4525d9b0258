"""All that is wrong with a folder of photos, found in one pass and told in plain words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from flowers.data import listing, photos
from flowers.data.catalogue import CONFLICT, Catalogue, require_trainable
from flowers.data.splits import SPLITS
from flowers.errors import InputError

FEW = 10  # usable photos below which a class can hardly be learned, and not be measured
UNEVEN = 3.0  # largest class to smallest, from which class weights matter
_WIDE = 5.0  # longer side to shorter, from which squeezing leaves no flower
_ENDINGS = {  # what a format's file names end in
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
}


@dataclass(frozen=True)
class Findings:
    """What a person should know about a set before training on it. Paths are below the root."""

    root: Path
    counts: pd.DataFrame  # index: class; columns: photos, usable, train, validation, test
    left_out: tuple[tuple[str, str], ...]  # (path, reason) of broken, tiny and refused photos
    conflicts: tuple[tuple[str, ...], ...]  # the same photo under two labels: paths of each group
    identical: tuple[tuple[str, ...], ...]  # files of equal bytes under one label
    look_alike: tuple[tuple[str, ...], ...]  # different files that look the same, under one label
    empty: tuple[str, ...]  # class folders without a photo
    few: tuple[str, ...]  # classes with 1 to 9 usable photos
    imbalance: float  # largest class to smallest, usable photos; 1 where there are fewer than two
    odd: tuple[tuple[str, str], ...]  # (path, remark): used all the same, or no photo at all
    obstacle: str  # why nothing can be trained on it; "" where something can


def findings(catalogue: Catalogue) -> Findings:
    """Looks through a catalogue, and once more at the folder it was made of where that is there."""
    table, usable = catalogue.table, catalogue.usable
    conflicting = table["problem"].str.startswith(CONFLICT)
    broken = table[(table["problem"] != "") & ~conflicting]
    copies = usable[usable["sha256"].duplicated(keep=False)].groupby("sha256")["path"]
    families = usable.drop_duplicates(["group", "sha256"])
    families = families[families["group"].duplicated(keep=False)].groupby("group")["path"]
    sizes = usable["label"].value_counts()
    try:
        found = listing.contents(catalogue.root)
    except InputError:
        found = listing.Contents((), (), ())
    empty = sorted(set(found.classes) - {label for label, _ in found.photos})
    return Findings(
        root=catalogue.root,
        counts=_counts(catalogue, empty),
        left_out=tuple(zip(broken["path"], broken["problem"], strict=True)),
        conflicts=_tuples(table[conflicting].groupby("group")["path"]),
        identical=_tuples(copies),
        look_alike=_tuples(families),
        empty=tuple(empty),
        few=tuple(sorted(sizes.index[sizes < FEW])),
        imbalance=float(sizes.max() / sizes.min()) if len(sizes) > 1 else 1.0,
        odd=tuple(sorted([*found.others, *_odd(catalogue)])),
        obstacle=_obstacle(catalogue),
    )


def as_text(result: Findings) -> str:
    """The findings as text: a table of the classes, then all that was found."""
    counts = result.counts
    total = counts.sum()
    lines = [
        f"{_legible(str(result.root))}: {total['photos']:,} photos in {len(counts)} classes, "
        f"{total['usable']:,} usable",
        "",
        *_table(counts),
    ]
    lines += _section("Left out", _pairs(result.left_out))
    lines += _section(
        "The same photo under two labels, left out: keep one, or correct the label",
        _chains(result.conflicts, " = "),
    )
    lines += _section("Identical files, kept in one split", _chains(result.identical, " = "))
    lines += _section(
        "Photos that look alike, kept in one split", _chains(result.look_alike, " ~ ")
    )
    lines += _section("Folders without a photo, no class", map(_legible, result.empty))
    lines += _section(f"Classes of fewer than {FEW} usable photos", map(_legible, result.few))
    lines += _section("Odd", _pairs(result.odd))
    if result.imbalance > UNEVEN:
        lines += ["", f"The largest class has {result.imbalance:.1f} times the smallest's photos."]
    lines += ["", result.obstacle or "Ready to train."]
    return "\n".join(lines)


def _counts(catalogue: Catalogue, empty: list[str]) -> pd.DataFrame:
    counts = pd.crosstab(catalogue.usable["label"], catalogue.usable["split"])
    counts = counts.reindex(columns=list(SPLITS), fill_value=0)
    counts = counts.reindex(sorted(set(catalogue.table["label"]) | set(empty)))
    counts.insert(0, "photos", catalogue.table["label"].value_counts())
    counts.insert(1, "usable", catalogue.usable["label"].value_counts())
    counts.columns.name = counts.index.name = None
    return counts.fillna(0).astype("int64")


def _odd(catalogue: Catalogue) -> list[tuple[str, str]]:
    """Usable photos that are worth a look."""
    remarks = []
    for path, width, height in catalogue.usable[["path", "width", "height"]].itertuples(
        index=False
    ):
        if max(width, height) > _WIDE * min(width, height):
            remarks.append((path, f"extremely {'wide' if width > height else 'high'}"))
        try:
            with (catalogue.root / path).open("rb") as file:
                kind = photos.sniff(file.read(16))
        except OSError:
            remarks.append((path, "gone since the catalogue was made"))
            continue
        if kind and not path.lower().endswith(_ENDINGS[kind]):
            remarks.append((path, f"a {kind} photo by its content"))
    names: dict[str, str] = {}
    for label in catalogue.labels:
        other = names.setdefault(label.casefold(), label)
        if other != label:
            remarks.append((label, f"differs from the class {other} in upper and lower case only"))
    return remarks


def _tuples(groups: Iterable[tuple[object, pd.Series]]) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted(tuple(paths) for _, paths in groups))


def _obstacle(catalogue: Catalogue) -> str:
    try:
        require_trainable(catalogue)
    except InputError as error:
        return f"Not ready to train. {error}"
    return ""


def _table(counts: pd.DataFrame) -> list[str]:
    rows = [["class", *counts.columns]]
    rows += [[_legible(name), *(f"{n:,}" for n in row)] for name, *row in counts.itertuples()]
    rows.append(["together", *(f"{n:,}" for n in counts.sum())])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        row[0].ljust(widths[0])
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    lines = list(lines)
    return ["", f"{title} ({len(lines):,})", *(f"  {line}" for line in lines)] if lines else []


def _pairs(pairs: tuple[tuple[str, str], ...]) -> list[str]:
    width = max((len(_legible(path)) for path, _ in pairs), default=0)
    width = min(width, 60)  # one long name does not push all reasons off the screen
    return [f"{_legible(path):<{width}}  {reason}" for path, reason in pairs]


def _chains(groups: tuple[tuple[str, ...], ...], sign: str) -> list[str]:
    return [sign.join(map(_legible, group)) for group in groups]


def _legible(name: str) -> str:
    """A file name without characters that move the cursor or turn the text around."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
