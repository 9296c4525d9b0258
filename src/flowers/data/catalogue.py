"""One row a photo: what it is, what is wrong with it, what it looks like, where it belongs."""

from __future__ import annotations

import contextlib
import csv
import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flowers import files
from flowers.config import PhotoLimits, SplitShares
from flowers.data import duplicates, listing, parallel, photos, splits
from flowers.errors import InputError
from flowers.progress import progress

if TYPE_CHECKING:
    from flowers.data.sources import Source

COLUMNS = (
    "path",  # below the root, with forward slashes
    "label",  # the class folder's name; a person may edit it
    "sha256",  # of the file; "" where it could not be read
    "group",  # photos that are the same or look alike share a number
    "origin",  # who or what is in it, where that is known: one origin, one split
    "width",  # px, upright; 0 where the photo could not be read
    "height",
    "problem",  # why the photo is left out; "" when it is usable
    "split",  # "train" | "validation" | "test"; "" when left out
)
_NUMBERS = {"group": "int64", "width": "int64", "height": "int64"}
CONFLICT = "same photo under "  # how the problem of a photo with two labels begins
SEEN = "looks like a test photo: "  # how that of a training photo begins, in a set that comes split
Origins = Callable[[Sequence[str]], Sequence[str]]  # paths below the root -> origins, "" unknown


@dataclass(frozen=True, eq=False)
class Catalogue:
    """A folder of photos as a table.

    Attributes:
        root: the folder that the paths are relative to, absolute.
        table: one row a photo, columns `COLUMNS`, sorted by path. Not to be changed in place.
    """

    root: Path
    table: pd.DataFrame

    @cached_property
    def usable(self) -> pd.DataFrame:
        """The rows without a problem, renumbered from 0. Every other array is in this order."""
        return self.table[self.table["problem"] == ""].reset_index(drop=True)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The classes that have usable photos, sorted."""
        return tuple(sorted(set(self.usable["label"])))

    @property
    def label_ids(self) -> np.ndarray:
        """int32 [N], the position in `labels` of each usable photo's label."""
        number = {label: index for index, label in enumerate(self.labels)}
        return np.array([number[label] for label in self.usable["label"]], dtype=np.int32)

    def rows(self, split: str) -> np.ndarray:
        """int64 [n], the rows of `usable` that are in "train", "validation" or "test"."""
        if split not in splits.SPLITS:
            raise ValueError(f"Expected one of {', '.join(splits.SPLITS)}. Received: {split!r}.")
        return np.flatnonzero((self.usable["split"] == split).to_numpy()).astype(np.int64)

    def key(self) -> str:
        """16 hexadecimal digits of what the pixels depend on: the usable photos and their order."""
        digest = hashlib.sha256()
        for path, content in zip(self.usable["path"], self.usable["sha256"], strict=True):
            digest.update(f"{path}\0{content}\n".encode())
        return digest.hexdigest()[:16]

    def save(self, path: str | Path) -> Path:
        """Writes the table as CSV, atomically, with the root as a last column `folder`."""
        table = self.table.assign(folder=str(self.root))
        # Quoted, since a file name may hold a comma, a quote or a line's end.
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        return files.write_text(path, text)


def build(
    folder: str | Path,
    *,
    seed: int = 0,
    shares: SplitShares = splits.SHARES,
    limits: PhotoLimits = photos.LIMITS,
    near: int | None = duplicates.DISTANCE,
    only: Collection[str] = (),
    origins: Origins | None = None,
) -> Catalogue:
    """Looks at every photo in <folder>/<class>/ and below, and splits what is usable.

    A set that comes split, <folder>/train/<class>/ and <folder>/test/<class>/, keeps its test
    photos; what looks like one of them is left out of the training.

    Args:
        folder: holds one folder of photos for each class.
        seed: of the split.
        shares: of the photos that go to training and validation.
        limits: formats and sizes that are accepted.
        near: bits of 64 up to which perceptual hashes propose a pair of look-alikes; None looks
            for identical photos only.
        only: the class folders to take; all of them when empty.
        origins: tells from the paths what belongs together though it does not look alike, such
            as photos of one person.

    Raises:
        InputError: there is no such folder.
        WorldError: the disk fails.
    """
    root, found = listing.require_folder(folder), listing.contents(folder, only).photos
    rows = parallel.ordered(partial(_inspect, root, limits), found)
    with contextlib.closing(rows):
        rows = list(progress(rows, "looking at photos", total=len(found)))
    table = pd.DataFrame([row for row, _ in rows], columns=list(COLUMNS)).astype(_NUMBERS)
    if origins is not None:
        table["origin"] = list(origins(table["path"].tolist()))
    table["group"] = _group(table, [look for _, look in rows], near)
    return settle(Catalogue(root, table), seed=seed, shares=shares)


def of(source: Source, *, seed: int = 0, shares: SplitShares = splits.SHARES) -> Catalogue:
    """The catalogue of a set of photos, with what its source knows of it; see `build`."""
    return build(source.folder, seed=seed, shares=shares, only=source.only, origins=source.origins)


def settle(
    catalogue: Catalogue, *, seed: int = 0, shares: SplitShares = splits.SHARES
) -> Catalogue:
    """Finds the conflicts and makes the split anew, as after a person corrected labels."""
    table = catalogue.table.copy()
    settled = table["problem"].str.startswith((CONFLICT, SEEN))
    table.loc[settled, "problem"] = ""
    given = splits.given(table["path"].tolist())
    if given is not None:
        _leave_out_seen(table, given)
    fine = table["problem"] == ""
    names = table[fine].groupby("group")["label"].agg(lambda labels: sorted(set(labels)))
    for group, labels in names[names.str.len() > 1].items():
        reason = CONFLICT + " and ".join(labels)
        table.loc[fine & (table["group"] == group), "problem"] = reason
    table["split"] = ""
    fine = table["problem"] == ""
    given = given if given is None else given[fine.to_numpy()]
    table.loc[fine, "split"] = splits.split(*_columns(table[fine]), seed, shares, given)
    return replace(catalogue, table=table)


def _leave_out_seen(table: pd.DataFrame, given: np.ndarray) -> None:
    """Marks, in place, what looks like a photo of a later part; the test set stays as it is."""
    later = {"train": ("validation", "test"), "validation": ("test",)}
    fine = (table["problem"] == "").to_numpy()
    for part, others in later.items():
        mine, theirs = fine & (given == part), fine & np.isin(given, others)
        twin = table[theirs].drop_duplicates("group").set_index("group")["path"]
        seen = mine & table["group"].isin(twin.index).to_numpy()
        table.loc[seen, "problem"] = SEEN + table.loc[seen, "group"].map(twin)


def _columns(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, units and digests for a split; a unit holds look-alikes and all of one origin."""
    known = np.flatnonzero((table["origin"] != "").to_numpy())
    pairs = duplicates.equal_pairs(table["origin"].iloc[known].tolist())
    pairs = np.concatenate([known[pairs], duplicates.equal_pairs(table["group"].tolist())])
    units = duplicates.groups(len(table), pairs)
    return table["label"].to_numpy(), units, table["sha256"].to_numpy()


def load(path: str | Path, root: str | Path | None = None) -> Catalogue:
    """Reads a catalogue that `Catalogue.save` wrote and a person may have edited.

    Args:
        path: the CSV file.
        root: where the photos are now; None takes the folder that the file names.

    Raises:
        InputError: no such file, not a catalogue, or edited to something inconsistent.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(
            f"the catalogue {path}", "no such file", "Make it with `flowers check`."
        ) from None
    except (ValueError, OSError) as error:
        raise _unusable(path, str(error).strip()) from error
    if "origin" not in table:
        table["origin"] = ""
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise _unusable(path, f"no column {', '.join(missing)}")
    try:
        table = table.astype(_NUMBERS)
    except ValueError as error:
        raise _unusable(path, f"a group, width or height that is no number ({error})") from error
    folder = table["folder"].iloc[0] if "folder" in table and len(table) else "."
    table = table[list(COLUMNS)]
    _check_edited(path, table)
    return Catalogue(Path(root if root is not None else folder).absolute(), table)


def folds(catalogue: Catalogue, k: int, seed: int = 0) -> np.ndarray:
    """int64 [N usable], the fold 0 to k - 1 of each usable photo; stratified, groups whole."""
    return splits.folds(*_columns(catalogue.usable), k, seed)


def require_trainable(catalogue: Catalogue) -> None:
    """Refuses a set that nothing can be learned or measured on.

    Raises:
        InputError: fewer than two classes, or a class without photos in one of the splits.
    """
    counts = pd.crosstab(catalogue.usable["label"], catalogue.usable["split"])
    counts = counts.reindex(columns=list(splits.SPLITS), fill_value=0)
    if len(counts) < 2:
        named = ", ".join(f"{label} ({sum(row)})" for label, row in counts.T.items())
        raise InputError(
            f"at least two classes, each a folder of photos in {catalogue.root}",
            f"{len(counts)} with usable photos{': ' + named if named else ''}",
            "Run `flowers check` on the folder to see what it holds.",
        )
    scarce = [
        f"{label} has " + ", ".join(f"{n} for {name}" for name, n in row.items())
        for label, row in counts.iterrows()
        if row.min() == 0
    ]
    if scarce:
        raise InputError(
            "photos of each class for training, validation and test",
            "; ".join(scarce),
            "Add photos to these classes (at least three that differ, better 50), or remove them.",
        )


def _inspect(
    root: Path, limits: PhotoLimits, found: tuple[str, str]
) -> tuple[dict[str, object], duplicates.Look | None]:
    """A photo's row and look; the row says why, where there is no look. A failing disk raises."""
    label, path = found
    row = dict.fromkeys(COLUMNS, "") | dict.fromkeys(_NUMBERS, 0)
    row |= {"path": _as_utf8(path), "label": _as_utf8(label)}
    if row["path"] != path:
        return row | {"problem": "a name that is not UTF-8"}, None
    try:
        facts = photos.inspect(root / path, limits)
    except InputError as error:
        return row | {"problem": error.received}, None
    known = {"sha256": facts.sha256, "width": facts.width, "height": facts.height}
    return row | known, duplicates.look(facts.thumbnail)


def _as_utf8(name: str) -> str:
    """A file name that can be written down: bytes that are no UTF-8 as backslash and number."""
    return name.encode("utf-8", "backslashreplace").decode()


def _group(
    table: pd.DataFrame, looks: list[duplicates.Look | None], near: int | None
) -> np.ndarray:
    """int64 [N]: photos of the same bytes, the same pixels or the same look share a number.

    A pair under two labels must be the same photo to be grouped, since that takes both out, and so
    must one of two origins: hands before a white wall look alike. For others looking alike is
    enough.
    """
    fine = np.flatnonzero([look is not None for look in looks])
    looks = [looks[index] for index in fine]
    size = zip(table["width"].iloc[fine], table["height"].iloc[fine], strict=True)
    pixels = [(look.digest, *sides) for look, sides in zip(looks, size, strict=True)]
    found = [
        duplicates.equal_pairs(list(table["sha256"].iloc[fine])),
        duplicates.equal_pairs(pixels),
    ]
    if near is not None:
        pairs, likeness = duplicates.near_pairs(looks, near)
        labels = table["label"].to_numpy()[fine]
        origins = table["origin"].to_numpy()[fine]
        left, right = pairs.T
        agree = labels[left] == labels[right]
        agree &= (origins[left] == origins[right]) | (origins[left] == "") | (origins[right] == "")
        needed = np.where(agree, duplicates.LOOK_ALIKE, duplicates.SAME_PHOTO)
        found.append(pairs[likeness >= needed])
    return duplicates.groups(len(table), fine[np.concatenate(found)])


def _check_edited(path: str | Path, table: pd.DataFrame) -> None:
    fine = table["problem"] == ""
    unknown = set(table.loc[fine, "split"]) - set(splits.SPLITS)
    if unknown:
        raise _unusable(path, f"a photo in the split {sorted(unknown)[0]!r}")
    if (table.loc[fine, "label"].str.strip() == "").any():
        raise _unusable(path, "a photo without a label")
    if table["path"].duplicated().any():
        raise _unusable(path, f"{table.loc[table['path'].duplicated(), 'path'].iloc[0]} twice")
    if any(PurePosixPath(one).is_absolute() or ".." in one.split("/") for one in table["path"]):
        raise _unusable(path, "a path that leaves the folder")
    straddling = table[fine].groupby("group")["split"].nunique() > 1
    if straddling.any():
        group = straddling.idxmax()
        raise _unusable(path, f"look-alike photos (group {group}) in more than one split")


def _unusable(path: str | Path, reason: str) -> InputError:
    return InputError(
        f"a catalogue in {path} with the columns {', '.join(COLUMNS)}",
        reason,
        "Correct the file, or make it again with `flowers check`.",
    )
