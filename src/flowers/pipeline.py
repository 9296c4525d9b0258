"""The main job as one function that notebooks and the command line share."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from flowers import files
from flowers.config import DEFAULT, Config
from flowers.data import catalogue as catalogues
from flowers.data import photos, pixels, sources
from flowers.data.catalogue import Catalogue
from flowers.data.sources import Source
from flowers.data.splits import SPLITS
from flowers.errors import InputError, WorldError
from flowers.judge import page
from flowers.judge import report as reports
from flowers.judge.folds import Folds, summarise
from flowers.judge.report import Report
from flowers.judge.summary import as_text
from flowers.model import classifier as classifiers
from flowers.model import weights as weight_files
from flowers.model.classifier import Classifier
from flowers.model.weights import Weights
from flowers.ship.card import Card
from flowers.train import device, features, recipe, training
from flowers.train.inputs import Inputs
from flowers.train.training import Samples

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Photos:
    """A set of photos, ready: where it came from, its catalogue, its pixels.

    pixels: uint8 [N, size, size, 3], RGB, in the order of `catalogue.usable`.
    """

    source: Source
    catalogue: Catalogue
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained classifier in float32, how it came about, and one row an epoch.

    checkpoint: the file that a call with the same photos and settings goes on from; of no more
    use once the result is saved.
    """

    classifier: Classifier
    config: Config
    weights: Weights
    history: pd.DataFrame
    checkpoint: Path


@dataclass(frozen=True)
class Outcome:
    """What the main job leaves: the model file, the folder of its report, the numbers.

    folds: accuracies of a cross-validation, empty when none was asked for.
    """

    model: Path
    folder: Path
    report: Report
    folds: Folds | None = None

    def as_text(self) -> str:
        """The results as a table for the screen."""
        return as_text(self.report, self.folds) + (
            f"\n\nmodel:  {self.model}\nreport: {self.folder / 'report.html'}"
        )


def run(
    source: str = "auto",
    config: Config = DEFAULT,
    *,
    data: Path = Path("data"),
    model: Path = Path("models/flowers.keras"),
    folds: int = 0,
    say: Say = print,
    command: str = "",
) -> Outcome:
    """Photos in, a measured model out: get, check, train, judge, save.

    Args:
        source: see `data.sources.get`.
        config: the recipe.
        data: folder for downloads and caches.
        model: the file to write; flowers.json and a folder flowers/ with the report go beside it.
        folds: how many parts to cross-validate over besides, 0 for none.
        say: receives a line for every step.
        command: shown in the report as the way to repeat it.

    Raises:
        InputError: the photos or the settings cannot be used.
        WorldError: disk, network or an interruption stands in the way; the same call resumes.
    """
    files.require_space(model.parent, 200_000_000, "the model and its report")
    prepared = prepare(source, config, data=data, say=say)
    everywhere = np.arange(len(prepared.pixels)) if folds else None  # one cache for all folds
    trained = fit(prepared, config, data=data, say=say, augmented=everywhere)
    outcome = judge(prepared, trained, model=model, command=command)
    if folds:
        measured = cross_validate(prepared, config, folds, data=data, say=say)
        outcome = judge(prepared, trained, model=model, command=command, folds=measured)
    trained.checkpoint.unlink(missing_ok=True)
    return outcome


def prepare(source: str, config: Config, *, data: Path = Path("data"), say: Say = print) -> Photos:
    """Gets the photos, checks and splits them, decodes them once."""
    found = sources.get(source, data, seed=config.seed)
    say(f"photos: {found.reason}")
    listed = catalogues.build(found.folder, seed=config.seed, shares=config.shares)
    catalogues.require_trainable(listed)
    left_out = len(listed.table) - len(listed.usable)
    counts = ", ".join(f"{len(listed.rows(split)):,} {split}" for split in SPLITS)
    say(f"catalogue: {counts}; {left_out} left out (see `flowers check {found.folder}`)")
    decoded = pixels.cache(listed, config.size, data / "cache")
    say(f"pixels: {files.amount(decoded.nbytes)} in {data / 'cache'}")
    return Photos(found, listed, decoded)


def fit(
    prepared: Photos,
    config: Config,
    *,
    data: Path = Path("data"),
    say: Say = print,
    rows: tuple[np.ndarray, np.ndarray] | None = None,
    augmented: np.ndarray | None = None,
) -> Trained:
    """Trains a classifier in phases, resuming where an interrupted call with the same photos and
    settings stood.

    Args:
        prepared: the photos.
        config: the recipe.
        data: folder for caches and checkpoints.
        say: receives a line a phase.
        rows: (training, validation) photo numbers; the catalogue's split when left out.
        augmented: photo numbers whose augmented views are kept; the training photos when left
            out. Folds share one cache by keeping them for all photos.

    Raises:
        InputError, WorldError: see `train.training.train`.
    """
    catalogue = prepared.catalogue
    train, validation = rows or (catalogue.rows("train"), catalogue.rows("validation"))
    machine = device.find(config.precision)
    weights = weight_files.find(config.weights, config.backbone, say=say)
    say(f"network: {config.backbone}, {weights.description}; {machine.name}, {machine.precision}")
    config = recipe.settle(config, pretrained=weights.path is not None, machine=machine)
    built = _build(len(catalogue.labels), config, weights.path, config.precision)
    saved = data / "cache" / f"run-{_run_key(built, config, catalogue, train, validation)}.npz"
    inputs = Inputs(
        built,
        prepared.pixels,
        key=f"{catalogue.key()} {config.size}",
        train=train,
        augmented=train if augmented is None else augmented,
        config=config,
        folder=data / "cache",
        say=say,
    )
    samples = Samples(catalogue.label_ids, train, validation, len(catalogue.labels))
    try:
        history = training.train(built, samples, config, inputs.feed, saved, say)
    except KeyboardInterrupt:
        raise WorldError(
            "to finish training",
            "an interruption",
            "The last finished epoch is kept: the same command goes on from there.",
        ) from None
    final = _build(len(catalogue.labels), config, None, "float32")
    final.model.set_weights(built.model.get_weights())
    return Trained(final, config, weights, pd.DataFrame(history), saved)


def cross_validate(
    prepared: Photos, config: Config, k: int, *, data: Path = Path("data"), say: Say = print
) -> Folds:
    """Trains k times; each time another k-th of the photos is the test set.

    Of the rest, one 2k-th of all photos validates. Look-alikes stay together.
    """
    if k < 2:
        raise InputError("at least two folds", str(k), "Correct --folds.")
    halves = catalogues.folds(prepared.catalogue, 2 * k, seed=config.seed)
    truth = prepared.catalogue.label_ids
    accuracies = []
    for fold in range(k):
        say(f"fold {fold + 1} of {k}")
        test, validation = halves // 2 == fold, halves == (2 * fold + 2) % (2 * k)
        rows = np.flatnonzero(~test & ~validation), np.flatnonzero(validation)
        trained = fit(
            prepared, config, data=data, say=say, rows=rows, augmented=np.arange(len(truth))
        )
        tested = np.flatnonzero(test)
        outputs = features.over(trained.classifier.model, prepared.pixels, tested, "test photos")
        accuracies.append(float((outputs.argmax(1) == truth[tested]).mean()))
        trained.checkpoint.unlink(missing_ok=True)
    return summarise(accuracies)


def judge(
    prepared: Photos,
    trained: Trained,
    *,
    model: Path,
    command: str = "",
    folds: Folds | None = None,
) -> Outcome:
    """Measures the trained model on the test photos and saves it with its card and report.

    The model is saved first, and the saved file is what is measured.
    """
    classifier, catalogue = trained.classifier.model, prepared.catalogue
    with files.atomic(model) as temporary:
        classifier.save(temporary)
    rows = catalogue.rows("test")
    opened = keras.saving.load_model(model, compile=False, safe_mode=True)
    probabilities = features.over(opened, prepared.pixels, rows, "test photos")
    truth, paths = catalogue.label_ids[rows], catalogue.usable["path"].iloc[rows].tolist()
    report = reports.evaluate(truth, probabilities, catalogue.labels, paths)
    settings = _settings(prepared, trained, command)
    if folds:
        low, high = folds.interval.low, folds.interval.high
        settings[f"{len(folds.accuracies)}-fold mean"] = (
            f"{folds.mean:.3f} (95 % interval {low:.3f} to {high:.3f})"
        )
    Card(
        labels=catalogue.labels,
        size=trained.config.size,
        sha256=files.sha256(model),
        catalogue=catalogue.key(),
        settings=settings,
        metrics=report.as_dict(),
    ).save(model)
    folder = model.with_suffix("")
    table = reports.predictions_table(truth, probabilities, catalogue.labels, paths)
    write_report(folder, report, table, catalogue.root, settings, trained.history)
    files.write_text(folder / "history.csv", trained.history.to_csv(index=False))
    catalogue.save(folder / "catalogue.csv")
    return Outcome(model, folder, report, folds)


def write_report(
    folder: Path,
    report: Report,
    table: pd.DataFrame,
    photo_root: Path,
    settings: Mapping[str, object],
    history: pd.DataFrame | None,
) -> None:
    """Writes report.json, predictions.csv and report.html into `folder`, each atomically."""
    files.write_json(folder / "report.json", report.as_dict())
    files.write_text(folder / "predictions.csv", table.to_csv(index=False, lineterminator="\n"))
    html = page.page(report, history, settings, lambda path: photos.read(photo_root / path))
    files.write_text(folder / "report.html", html)


def _build(classes: int, config: Config, weights: Path | None, precision: str) -> Classifier:
    return classifiers.build(
        classes,
        size=config.size,
        backbone=config.backbone,
        weights=weights,
        head=config.head,
        dropout=config.dropout,
        precision=precision,
        seed=config.seed,
    )


def _run_key(built: Classifier, config: Config, catalogue: Catalogue, *rows: np.ndarray) -> str:
    """Equal for two runs exactly when they would train the same thing."""
    digest = hashlib.sha256(f"{config} {catalogue.key()} {catalogue.labels}".encode())
    digest.update(catalogue.label_ids.tobytes())
    for numbers in rows:
        digest.update(numbers.tobytes())
    digest.update(classifiers.fingerprint(built.model).encode())
    return digest.hexdigest()[:16]


def _settings(prepared: Photos, trained: Trained, command: str) -> dict[str, object]:
    """How the figures came about, in the order in which the report shows it."""
    config, catalogue = trained.config, prepared.catalogue
    versions = {name: metadata.version(name) for name in ("flowers", "keras", "numpy", "pillow")}
    return {
        "command": command,
        "photos": f"{prepared.source.name}: {prepared.source.folder}",
        "split": {split: len(catalogue.rows(split)) for split in SPLITS},
        "seed": config.seed,
        "size": f"{config.size} px",
        "backbone": config.backbone,
        "weights": trained.weights.description,
        "phases": [
            f"{phase.name}: up to {phase.epochs} epochs at {phase.rate:g}, batch {phase.batch}"
            for phase in config.phases
        ],
        "views a training photo": config.views,
        "label smoothing": config.label_smoothing,
        "weight decay": config.weight_decay,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": versions | {keras.backend.backend(): _backend_version()},
    }


def _backend_version() -> str:
    return metadata.version(keras.backend.backend())
