"""Exports a trained classifier and proves each file: what disagrees with the model is not written.

Every format answers the whole test split in a process of its own, by its own runtime, beside the
Keras model. What came of it stands in flowers.json and in MODEL_CARD.md. `flowers train` ends with
one of them, the quick form, proved on fewer photos.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flowers import files
from flowers.data import catalogue as catalogues
from flowers.data import pixels, sources
from flowers.errors import InputError, WorldError
from flowers.progress import progress
from flowers.ship import bundle, formats, graph, model_card, proof, runtimes, trial
from flowers.ship import card as cards
from flowers.ship.card import Card
from flowers.ship.formats import KERAS, QUICK, Converter, Format
from flowers.ship.proof import Row
from flowers.ship.runtimes import Outputs
from flowers.ship.trial import Trial

FEW = 32  # test photos that prove the quick form after a training: each costs 0.1 s
PHOTOS = "photos.npy"  # the test photos, for the processes that answer them

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


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a form of a model is held against.

    photos: a .npy file of uint8 [M, S, S, 3]; truth: int [M], their classes; reference: the
    model's answers about them; threshold: of its novelty, None without a score.
    """

    model: Path
    photos: Path
    truth: np.ndarray
    reference: Outputs
    threshold: float | None


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
        _workshop(split) as folder,
    ):
        card, photos = cards.load(model), folder / PHOTOS
        say(f"proof: {len(split.test):,} test photos, by every format's own runtime")
        reference = trial.run(model, model, photos)
        evidence = Evidence(model, photos, split.truth, reference.outputs, card.threshold)
        shipped = graph.build(bundle.load(model, card), bundle.load_novelty(model))
        converter = Converter(shipped, split.calibrating, folder)
        rows, written, refused = [], [], []
        for wish in progress(wanted, "formats", unit="format"):
            if wish is KERAS:
                made, row, lack = model, *_judged(wish, model, reference, evidence)
            else:
                made, row, lack = _one(wish, converter, evidence)
            rows.append(row)
            if lack:
                refused.append((wish.name, lack))
                continue
            card = _keep(made, row, model, card)
            if wish is not KERAS:
                written.append(model.with_name(made.name))
    described = files.write_text(model.with_name("MODEL_CARD.md"), model_card.text(card, model))
    return Exported(tuple(rows), tuple(written), tuple(refused), described)


def quick(model: Path, photos: np.ndarray, rows: np.ndarray, truth: np.ndarray) -> Row:
    """Writes the form that `flowers predict` opens first beside a model that was just trained.

    It is made and proved as `run` does it, in seconds: on `FEW` test photos, which the Keras model
    answers in this process. Whoever calls holds the model's lock.

    Args:
        model: a .keras file with its card beside it.
        photos: uint8 [N, S, S, 3].
        rows: int [M], which of them are test photos.
        truth: int [N], the classes of all.

    Returns:
        What was measured.

    Raises:
        InputError: the packages of the format are missing, or its converter fails.
        WorldError: disk or memory stand in the way, or the form disagrees with the model.
    """
    card = cards.load(model)
    files.require_space(model.parent, 2 * model.stat().st_size, f"the {QUICK.ending} file")
    chosen = np.sort(np.random.default_rng(0).permutation(rows)[:FEW])
    few = Split(photos[chosen[:0]], photos[chosen], truth[chosen])
    with _workshop(few) as folder:
        shipped = graph.build(bundle.load(model, card), bundle.load_novelty(model))
        reference = runtimes.of_graph(shipped)(few.test)
        evidence = Evidence(model, folder / PHOTOS, few.truth, reference, card.threshold)
        made, row, lack = _one(QUICK, Converter(shipped, few.calibrating, folder), evidence)
        if lack:
            raise WorldError(
                f"a {QUICK.ending} file with the answers of {model}",
                lack,
                "Nothing was written for it; use another format.",
            )
        _keep(made, row, model, card)
    return row


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


@contextlib.contextmanager
def _workshop(split: Split) -> Iterator[Path]:
    """A temporary folder with the test photos in it, where forms lie until they have passed."""
    with tempfile.TemporaryDirectory(prefix="flowers-export-") as name, files.world(name):
        np.save(Path(name, PHOTOS), split.test)
        yield Path(name)


def _one(wish: Format, converter: Converter, evidence: Evidence) -> tuple[Path, Row, str]:
    """Makes and proves one format: where it lies for now, its row, what it lacks."""
    made = converter.folder / (evidence.model.stem + wish.ending)
    converter.write(wish, made)
    tried = trial.run(made, evidence.model, evidence.photos)
    return made, *_judged(wish, made, tried, evidence)


def _judged(wish: Format, made: Path, tried: Trial, evidence: Evidence) -> tuple[Row, str]:
    """The row of one format, and what it lacks."""
    reference, truth = evidence.reference, evidence.truth
    row = proof.compare(wish.name, reference, tried, truth, evidence.threshold, _size(made))
    if wish.name == "litert-int8":
        plain = trial.run(made, evidence.model, evidence.photos, plain=True)
        row = proof.with_plain(row, reference, plain.outputs, truth)
    right = reference["probabilities"].argmax(axis=1) == truth
    return row, "; ".join(row.shortfalls(wish.gate, float(right.mean())))


def _keep(made: Path, row: Row, model: Path, card: Card) -> Card:
    """Puts what passed beside the model, together with its row in the card; gives that card."""
    target = model.with_name(made.name)
    entry = {"sha256": cards.fingerprint(made), **row.as_dict()}
    card = replace(card, files={**card.files, target.name: entry})
    with cards.replacing(model, card):
        if made != model:
            _publish(made, target)
    return card


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
