"""A whole job: photos listed, what is finished skipped, the rest scored, all of it counted."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flowers import files
from flowers.errors import InputError
from flowers.progress import progress
from flowers.scoring import manifest as manifests
from flowers.scoring import plan as plans
from flowers.scoring import sources
from flowers.scoring.manifest import Manifest
from flowers.scoring.plan import Plan
from flowers.scoring.shards import Shards, Tally
from flowers.ship import card as cards
from flowers.ship.card import Card

ENGINES = {"local": "local", "ray": "on_ray"}  # name -> module, which alone needs its packages
MODELS = (".tflite", ".onnx")  # what runs without TensorFlow
ROW = 250  # bytes of a photo in a shard and in the list, at most, for paths of usual length
PATIENCE = 5.0  # seconds to wait for another run in the same folder

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a job leaves.

    folder: of the shards; shards: how many; tally: of all photos; labels: the classes;
    scored: photos of this run; seconds: that they took, with starting the workers.
    """

    folder: Path
    shards: int
    tally: Tally
    labels: tuple[str, ...]
    scored: int
    seconds: float

    def as_text(self) -> str:
        """The summary for the screen."""
        tally = self.tally
        lines = [f"{tally.photos:,} photos in {self.shards:,} shards: {self.folder}"]
        rows = [(label, tally.classes[label]) for label in self.labels]
        rows += [("none of these", tally.refused), ("broken", tally.broken)]
        width = max(len(name) for name, _ in rows)
        lines += [f"  {name:<{width}}  {count:>9,}" for name, count in rows]
        if before := tally.photos - self.scored:
            lines.append(f"{before:,} of them were finished before")
        if self.scored:
            rate = self.scored / self.seconds
            lines.append(f"{self.scored:,} in {self.seconds:,.0f} s: {rate:,.1f} images a second")
        return "\n".join(lines)


def run(
    asked: Sequence[str],
    out: Path,
    plan: Plan,
    *,
    engine: str = "local",
    shard: int | None = None,
    say: Say = print,
) -> Outcome:
    """Scores all photos of the sources into Parquet shards; finished shards are skipped.

    Killed at any point, the same call goes on: it ends with exactly one row a photo.

    Args:
        asked: folders, globs, list files, URIs or photos (`sources.paths`).
        out: folder of the shards.
        plan: model, workers and so on; its `roots` are filled in here.
        engine: "local" or "ray".
        shard: photos of a shard; None takes the folder's, or `plan.SHARD`.
        say: takes a line for people.

    Raises:
        InputError: nothing to score, a model that is no exported one, or a folder that was begun
            with another model, other photos or another size of shards.
        WorldError: the disk, a store, the cluster or a worker fails; finished shards are kept.
    """
    card = _card(plan.model)
    module = _engine(engine)
    with files.locked(out / manifests.NAME, PATIENCE):
        shards = _shards(asked, out, plan, card, shard)
        tally, wanted = _finished(shards, say)
        count = sum(map(shards.roster.size, wanted))
        plan = replace(plan, roots=tuple(sources.roots(asked).items()))
        started = time.monotonic()
        photos = plans.photos(shards.roster, wanted)
        with contextlib.closing(module.run(plan, photos, say)) as tables:
            for done in _filled(shards, wanted, tables, count):
                tally += done
        seconds = time.monotonic() - started
    return Outcome(out, shards.roster.shards, tally, card.labels, count, seconds)


def _card(model: Path) -> Card:
    if model.suffix not in MODELS:
        raise InputError(
            f"an exported model ending in {' or '.join(MODELS)}",
            str(model),
            "Run `flowers export`, and name the file it writes with --model.",
        )
    return cards.load(model)


def _engine(name: str):
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module(f"flowers.scoring.{ENGINES[name]}")
    except ImportError as error:
        extra = "ray" if name == "ray" else "score"
        raise InputError(
            f"the packages that the engine {name!r} needs",
            str(error),
            f"Install them: pip install 'flowers[{extra}]'.",
        ) from error


def _shards(asked: Sequence[str], out: Path, plan: Plan, card: Card, size: int | None) -> Shards:
    """Lists the photos and compares everything with what the folder was begun with."""
    sha256 = str(card.files[plan.model.name]["sha256"])
    found = manifests.load(out)
    if found is None:
        manifests.require_empty(out)
    else:
        manifests.require_same_model(found, plan.model.name, sha256, plan.views, out)
        if size not in (None, found.shard):
            raise InputError(
                f"--shard {found.shard}, as in {out}", f"--shard {size}", manifests.AGAIN
            )
    size = size or (found.shard if found else plans.SHARD)
    known = sources.roots(asked)
    listed = (path for source in asked for path in sources.paths(source, known))
    bar = progress(listed, "listing photos")
    roster = manifests.listed(out, bar, size, found)
    made = Manifest(
        model=plan.model.name,
        model_sha256=sha256,
        views=plan.views,
        labels=card.labels,
        sources=tuple(map(sources.shown, asked)),
        photos=roster.photos,
        photos_sha256=roster.sha256,
        shard=size,
    )
    if found is None:
        files.require_space(out, roster.photos * ROW, "the shards")
        made.save(out)
    return Shards(out, roster, made.stamp)


def _finished(shards: Shards, say: Say) -> tuple[Tally, list[int]]:
    """What is finished, and the numbers of the shards that are not."""
    tally, wanted = Tally(Counter()), []
    for shard in range(shards.roster.shards):
        if done := shards.finished(shard):
            tally += done
            continue
        wanted.append(shard)
        if shards.path(shard).exists():
            say(f"{shards.path(shard)} is damaged: it is made again")
    if len(wanted) < shards.roster.shards:
        say(f"{shards.roster.shards - len(wanted):,} of {shards.roster.shards:,} shards are done")
    return tally, wanted


def _filled(shards: Shards, wanted: list[int], tables, count: int) -> Iterator[Tally]:
    """Writes the shards, with a bar that moves with every piece of work."""
    with progress((), "scoring", total=count) as bar:
        for came, done in shards.fill(wanted, tables):
            bar.update(came)
            yield done
