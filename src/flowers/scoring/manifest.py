"""_manifest.json: which model and which photos a folder of shards was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from flowers import files
from flowers.errors import InputError
from flowers.scoring import roster as rosters
from flowers.scoring.roster import Roster

NAME = "_manifest.json"  # readers of Parquet folders leave names with "_" alone
ROSTER = "_photos.sqlite"
AGAIN = "Name another --out, or remove this folder to score everything again."


@dataclass(frozen=True)
class Manifest:
    """What the rows of a folder depend on.

    model: file name; model_sha256: of the file; views: looks at a photo that are averaged;
    labels: classes in the order of the probabilities; sources: what was asked for;
    photos: how many; photos_sha256: over their paths; shard: photos of a shard.
    """

    model: str
    model_sha256: str
    views: int
    labels: tuple[str, ...]
    sources: tuple[str, ...]
    photos: int
    photos_sha256: str
    shard: int

    @property
    def stamp(self) -> str:
        """All that rows depend on in one hash: a shard carries it."""
        facts = (self.model_sha256, self.views, self.photos_sha256, self.shard)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]

    def save(self, folder: Path) -> Path:
        """Writes it into the folder, atomically."""
        return files.write_json(folder / NAME, {"format": 1, **asdict(self)})


def load(folder: Path) -> Manifest | None:
    """The manifest of a folder; None where there is none.

    Raises:
        InputError: the file has another form.
    """
    if not (folder / NAME).is_file():
        return None
    values = files.read_json(folder / NAME)
    try:
        values = {**values, "labels": tuple(values["labels"]), "sources": tuple(values["sources"])}
        values.pop("format")
        return Manifest(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"a manifest in {folder / NAME}", f"a file with another form ({error})", AGAIN
        ) from error


def require_empty(folder: Path) -> None:
    """Refuses a folder that holds Parquet files of something else.

    Raises:
        InputError: it does.
    """
    if any(folder.glob("[!._]*.parquet")):
        raise InputError(
            f"a new folder, or one of an earlier run, at {folder}",
            f"Parquet files without a {NAME}",
            "Name another --out.",
        )


def require_same_model(found: Manifest, model: str, sha256: str, views: int, folder: Path) -> None:
    """Refuses to mix the rows of two models.

    Raises:
        InputError: the folder was made with another model, or another number of looks.
    """
    if found.model_sha256 != sha256:
        raise InputError(
            f"the model that {folder} was made with ({found.model}, {found.model_sha256[:12]})",
            f"another one ({model}, {sha256[:12]})",
            AGAIN,
        )
    if found.views != views:
        raise InputError(f"--tta {found.views}, as in {folder}", f"--tta {views}", AGAIN)


def require_same_photos(found: Manifest, listed: Roster, before: Roster | None) -> None:
    """Refuses to go on with another list of photos: shards are pieces of the list.

    Raises:
        InputError: photos were added or taken away.
    """
    if found.photos_sha256 == listed.sha256:
        return
    if before is None:
        change = f"{listed.photos:,} photos, with other names"
    else:
        new, gone = listed.differences(before)
        change = f"{listed.photos:,} photos: {new:,} new, {gone:,} no longer there"
    raise InputError(f"the {found.photos:,} photos that were listed at first", change, AGAIN)


def listed(folder: Path, paths: Iterable[str], shard: int, found: Manifest | None) -> Roster:
    """The list of photos, made anew and compared with the one that the folder began with.

    Raises:
        InputError: no photos, or not those of the folder.
        WorldError: the disk is full or read-only.
    """
    kept, fresh = folder / ROSTER, folder / f"_new{ROSTER}"
    try:
        roster = rosters.build(fresh, paths, shard)
        if not roster.photos:
            raise InputError("photos", "none", "Name a folder, glob, list or URI with photos.")
        if found is not None:
            before = rosters.load(kept) if kept.is_file() else None
            require_same_photos(found, roster, before)
        with files.world(kept):
            files.publish(fresh, kept)
    finally:
        fresh.unlink(missing_ok=True)
    return rosters.load(kept)
