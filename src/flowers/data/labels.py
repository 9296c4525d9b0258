"""labels.csv: which labels look wrong, and what a person decided about them.

The audit writes it, a person fills the column `action`, and training reads it. Photos and folders
are never touched: the decisions are applied to the catalogue in memory.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from flowers import files
from flowers.config import SplitShares
from flowers.data import splits
from flowers.data.catalogue import Catalogue, settle
from flowers.errors import InputError

COLUMNS = (
    "path",  # below the folder of photos, with forward slashes
    "label",  # the class folder it lies in
    "suggested_label",  # what it looks like; a person may write another class
    "score",  # 0: surely wrong, 1: surely right
    "action",  # what a person decides; one of ACTIONS
)
ACTIONS = (
    "",  # undecided: the label stays
    "relabel",  # it is what `suggested_label` says
    "remove",  # it is left out
    "keep",  # it is right as it is, and no audit need ask again
)
REMOVED = "removed by labels.csv"  # the problem of a photo that a person took out
_NEEDED = tuple(name for name in COLUMNS if name != "score")
_NAMED = 3  # lines that a message names; the rest it counts
_MAKE_AGAIN = "Correct the file, or make it again with `flowers audit`."


def read(path: str | Path) -> pd.DataFrame:
    """Reads labels.csv, also as spreadsheets save it (semicolons, a byte order mark).

    Returns:
        the columns path, label, suggested_label and action as text, score as float (NaN where
        there is none); actions in lower case.

    Raises:
        InputError: no such file, no such table, an unknown action, a relabelling without a label,
            a photo that stands twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(
            f"the file {path}", "no such file", "Make it with `flowers audit`."
        ) from None
    except UnicodeDecodeError:
        raise _unusable(path, "a text in another encoding", "Save it as CSV UTF-8.") from None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error), _MAKE_AGAIN) from error
    table = pd.DataFrame(_lines(path, text), columns=list(COLUMNS), dtype=str)
    table["action"] = table["action"].str.lower()
    # a spreadsheet may have put a decimal comma
    scores = table["score"].str.replace(",", ".", regex=False)
    table["score"] = pd.to_numeric(scores, errors="coerce")
    _check(path, table)
    return table


def apply(
    catalogue: Catalogue,
    table: pd.DataFrame,
    *,
    seed: int = 0,
    shares: SplitShares = splits.SHARES,
) -> Catalogue:
    """The catalogue after a person's decisions, split again; no file is touched.

    Relabelled photos change their class, removed ones get the problem `REMOVED`. A decision about
    one of two copies settles a conflict between them, and can make one: what is still the same
    photo under two labels is left out, as always. Applying a table twice is applying it once.

    Args:
        catalogue: of the folder that was audited.
        table: what `read` gives.
        seed: of the split.
        shares: of the photos that go to training and validation.

    Raises:
        InputError: a photo that the folder has not, a label that is no class of it, or a table
            that was made when the photos lay in other folders.
    """
    known = catalogue.table.set_index("path")["label"]
    _check_paths(catalogue, table, known)
    moved = table[table["action"] == "relabel"].set_index("path")["suggested_label"]
    _check_labels(moved, sorted(set(known)))
    was = table.set_index("path")["label"]
    now = known.loc[was.index]
    stale = was.index[(was != now) & (now != moved.reindex(was.index))]
    if len(stale):
        first = stale[0]
        raise InputError(
            "labels.csv about the photos as they are filed now",
            f"{_counted(stale)}, which it calls {was[first]} and the folder {now[first]}",
            "Run `flowers audit` again: what you decided before is kept.",
        )
    changed = catalogue.table.copy()
    changed["label"] = [
        moved.get(path, label)
        for path, label in zip(changed["path"], changed["label"], strict=True)
    ]
    out = changed["path"].isin(set(table.loc[table["action"] == "remove", "path"]))
    changed.loc[out, "problem"] = REMOVED
    return settle(replace(catalogue, table=changed), seed=seed, shares=shares)


def carry_over(
    fresh: pd.DataFrame, earlier: pd.DataFrame, known: Mapping[str, str]
) -> pd.DataFrame:
    """A new audit's table with what a person decided before.

    A decision holds as long as the photo lies in the same class folder. Decided photos come after
    the open ones, whether they are found again or not.

    Args:
        fresh: the columns `COLUMNS`, worst first, all undecided.
        earlier: what `read` gives.
        known: path -> label of every photo in the folder.
    """
    filed = earlier["path"].map(known)  # NaN for a photo that is gone
    decided = earlier[(earlier["action"] != "") & (filed == earlier["label"])]
    still_open = fresh[~fresh["path"].isin(decided["path"])]
    tables = [part for part in (still_open, decided) if len(part)]
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)] if tables else fresh


def save(path: str | Path, table: pd.DataFrame) -> Path:
    """Writes the table as CSV, atomically."""
    text = table[list(COLUMNS)].to_csv(index=False, lineterminator="\n", float_format="%.4f")
    return files.write_text(path, text)


def _lines(path: str | Path, text: str) -> list[dict[str, str]]:
    """The table's lines: column -> text, "" where a line is cut short."""
    header = text.split("\n", 1)[0]
    separator = ";" if header.count(";") > header.count(",") else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    names = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise _unusable(path, f"no column {', '.join(missing)}", _MAKE_AGAIN)
    reader.fieldnames = names
    lines = []
    try:
        for line in reader:
            if None in line:  # where DictReader puts what no column claims
                reason = f"more cells than columns in line {reader.line_num}"
                raise _unusable(path, reason, "Take the last cells out.")
            lines.append({name: (line.get(name) or "").strip() for name in COLUMNS})
    except csv.Error as error:
        raise _unusable(path, f"{error} in line {reader.line_num}", _MAKE_AGAIN) from error
    return lines


def _check(path: str | Path, table: pd.DataFrame) -> None:
    twice = table.loc[table["path"].duplicated(), "path"]
    if len(twice):
        raise _unusable(path, f"{_counted(twice)} in two lines", "Leave one line a photo.")
    unknown = table[~table["action"].isin(ACTIONS)]
    if len(unknown):
        raise _unusable(
            path,
            f"the action {unknown['action'].iloc[0]!r} for {_counted(unknown['path'])}",
            "Write relabel, remove or keep, or leave it empty.",
        )
    nameless = table[(table["action"] == "relabel") & (table["suggested_label"] == "")]
    if len(nameless):
        raise _unusable(
            path,
            f"relabel without a suggested_label for {_counted(nameless['path'])}",
            "Write the right class into the column suggested_label.",
        )


def _check_paths(catalogue: Catalogue, table: pd.DataFrame, known: pd.Series) -> None:
    strange = table.loc[~table["path"].isin(known.index), "path"]
    if len(strange):
        raise InputError(
            f"labels.csv about photos in {catalogue.root}",
            f"{_counted(strange)}, which the folder has not",
            "Take these lines out, name the folder that was audited, or run `flowers audit` again.",
        )


def _check_labels(moved: pd.Series, classes: list[str]) -> None:
    unknown = moved[~moved.isin(classes)]
    if len(unknown):
        names = ", ".join(classes[:12]) + (" and more" if classes[12:] else "")
        raise InputError(
            f"labels out of the folder's classes ({names})",
            f"{unknown.iloc[0]!r} for {_counted(unknown.index)}",
            "Correct the column suggested_label; a new class needs a folder with photos first.",
        )


def _counted(paths) -> str:
    """The first of some paths by name, the others as a number."""
    paths = list(paths)
    rest = len(paths) - _NAMED
    return ", ".join(map(str, paths[:_NAMED])) + (f" and {rest:,} more" if rest > 0 else "")


def _unusable(path: str | Path, reason: str, remedy: str) -> InputError:
    return InputError(f"a table in {path} with the columns {', '.join(COLUMNS)}", reason, remedy)
