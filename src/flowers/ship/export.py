"""Exports a trained classifier and proves each file: what disagrees with the model is not written.

Every format answers the whole test split in a process of its own, by its own runtime, beside the
Keras model. What came of it stands in flowers.json and in MODEL_CARD.md.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flowers import files
from flowers.data import catalogue as catalogues
from flowers.data import pixels, sources
from flowers.errors import InputError
from flowers.progress import progress
from flowers.ship import bundle, formats, graph, model_card, proof, trial
from flowers.ship import card as cards
from flowers.ship.card import Card
from flowers.ship.formats import KERAS, Converter, Format
from flowers.ship.proof import Row
from flowers.ship.trial import Trial

Say = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What an export did.

    rows: of every format that was asked for, the Keras model first; written: the files that
    passed; refused: for each format that did not, what it lacks.
    """

    rows: tuple[Row, ...]
    written: tuple[Path, ...]
    refused: tuple[tuple[str, str], ...]
    model_card: Path

    def as_text(self) -> str:
        """The table for the screen, and the files."""
        lines = [proof.as_text(self.rows), "", *(f"wrote {path}" for path in self.written)]
        lines += [f"not written: {name}: {lack}" for name, lack in self.refused]
        return "\n".join([*lines, f"wrote {self.model_card}"])


@dataclass(frozen=True, eq=False)
class Split:
    """The photos of one model: uint8 [N, S, S, 3] of training, to correct int8 on, and of test
    with their classes, int [M]."""

    calibrating: np.ndarray
    test: np.ndarray
    truth: np.ndarray


def run(
    model: Path,
    names: Sequence[str],
    source: str | None = None,
    *,
    data: Path = Path("data"),
    say: Say = print,
) -> Exported:
    """Writes a model in several formats beside it, and proves each.

    Args:
        model: a .keras file with its card and the catalogue of its photos beside it.
        names: of formats (formats.FORMATS), or "all".
        source: where the photos are that it was trained on, as `data.sources.get` takes it; None
            looks where they were.
        data: folder for downloads and caches.
        say: receives a line for every step.

    Raises:
        InputError: no such model or format, or other photos than those of the model.
        WorldError: disk or memory stand in the way.
    """
    wanted = _wanted(names)
    if model.suffix != ".keras":
        raise InputError("a model file ending in .keras", str(model), "Name the trained model.")
    card = cards.load(model)
    files.require_space(model.parent, 8 * model.stat().st_size, "the exported files")
    split = photos_of(model, card, source, data, say)
    with (
        files.locked(model, files.LONGEST, say),  # two exports would each forget the other's files
        tempfile.TemporaryDirectory(prefix="flowers-export-") as name,
    ):
        card, folder = cards.load(model), Path(name)
        np.save(folder / "photos.npy", split.test)
        say(f"proof: {len(split.test):,} test photos, by every format's own runtime")
        reference = trial.run(model, model, folder / "photos.npy")
        shipped = graph.build(bundle.load(model, card), bundle.load_novelty(model))
        converter = Converter(shipped, split.calibrating, folder)
        rows, written, refused = [], [], []
        for wish in progress(wanted, "formats", unit="format"):
            row, lack, made = _one(wish, model, converter, reference, split, card, folder)
            rows.append(row)
            if lack:
                refused.append((wish.name, lack))
                continue
            target = model.with_name(made.name)
            entry = {"sha256": cards.fingerprint(made), **row.as_dict()}
            card = replace(card, files={**card.files, target.name: entry})
            with cards.replacing(model, card):
                if wish is not KERAS:
                    _publish(made, target)
                    written.append(target)
    described = files.write_text(model.with_name("MODEL_CARD.md"), model_card.text(card, model))
    return Exported(tuple(rows), tuple(written), tuple(refused), described)


def photos_of(model: Path, card: Card, source: str | None, data: Path, say: Say) -> Split:
    """The photos that a model was trained and tested on, split as they were then.

    Raises:
        InputError: the catalogue is not there, or its photos are not in `source`.
    """
    root = None
    if source is not None:
        found = sources.get(source, data)
        say(f"photos: {found.reason}")
        root = found.folder
    listed = catalogues.load(model.with_suffix("") / "catalogue.csv", root=root)
    missing = [path for path in listed.usable["path"] if not (listed.root / path).is_file()]
    if missing or listed.key() != card.catalogue or listed.labels != card.labels:
        raise InputError(
            f"the photos that {model} was trained on, in {listed.root}",
            f"{len(missing):,} of {len(listed.usable):,} missing" if missing else "other ones",
            "Name their folder with --data.",
        )
    decoded = pixels.cache(listed, card.size, data / "cache")
    train, test = listed.rows("train"), listed.rows("test")
    random = np.random.default_rng(0)
    few = np.sort(random.permutation(train)[: formats.CALIBRATING])
    return Split(decoded[few], decoded[test], listed.label_ids[test])


def _wanted(names: Sequence[str]) -> tuple[Format, ...]:
    """The formats in the order of FORMATS, each once, the Keras model first to compare with."""
    if "all" in names:
        return formats.FORMATS
    found = {formats.find(name) for name in names} | {KERAS}
    return tuple(known for known in formats.FORMATS if known in found)


def _one(
    wish: Format,
    model: Path,
    converter: Converter,
    reference: Trial,
    split: Split,
    card: Card,
    folder: Path,
) -> tuple[Row, str, Path]:
    """Makes and proves one format: row, what it lacks, where it lies for now."""
    made = model if wish is KERAS else folder / (model.stem + wish.ending)
    if wish is not KERAS:
        converter.write(wish, made)
    photos = folder / "photos.npy"
    tried = reference if wish is KERAS else trial.run(made, model, photos)
    judged = (reference.outputs, tried, split.truth, card.threshold, _size(made))
    row = proof.compare(wish.name, *judged)
    if wish.name == "litert-int8":
        plain = trial.run(made, model, photos, plain=True)
        row = proof.with_plain(row, reference.outputs, plain.outputs, split.truth)
    right = reference.outputs["probabilities"].argmax(axis=1) == split.truth
    return row, "; ".join(row.shortfalls(wish.gate, float(right.mean()))), made


def _publish(made: Path, target: Path) -> None:
    """Copies what passed to its place: a file or a folder in one step, a pair its weights first."""
    if made.is_dir():
        with files.atomic_folder(target, replace=True) as temporary:
            shutil.copytree(made, temporary, dirs_exist_ok=True)
        return
    pair = [made.with_suffix(".bin")] if made.suffix == ".xml" else []
    with contextlib.ExitStack() as stack:  # what is entered last is published first
        for part in (made, *pair):
            temporary = stack.enter_context(files.atomic(target.with_name(part.name)))
            shutil.copyfile(part, temporary)


def _size(made: Path) -> int:
    """Bytes of a file, a folder, or a pair of files."""
    if made.is_dir():
        return sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    pair = made.with_suffix(".bin") if made.suffix == ".xml" else None
    return made.stat().st_size + (pair.stat().st_size if pair else 0)
