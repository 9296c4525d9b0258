"""What a run leaves beside the model: the report, the answers, what they rest on."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from flowers import files
from flowers.config import Config
from flowers.data import photos
from flowers.data.catalogue import Catalogue
from flowers.data.prepared import Photos
from flowers.data.sources import Source
from flowers.data.splits import SPLITS
from flowers.errors import FlowersError
from flowers.judge import assessment as assessments
from flowers.judge import page, similar
from flowers.judge import report as reports
from flowers.judge.assessment import Assessment, Exam
from flowers.judge.folds import Folds
from flowers.judge.report import Report
from flowers.judge.similar import Similar
from flowers.judge.summary import as_text
from flowers.model.weights import Weights
from flowers.ship import export
from flowers.ship.card import Card
from flowers.ship.formats import QUICK


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the main job leaves: the model file, the folder of its report, the numbers.

    folds: accuracies of a cross-validation, None when none was asked for.
    """

    model: Path
    folder: Path
    assessment: Assessment
    folds: Folds | None = None

    @property
    def report(self) -> Report:
        """How often the model was right."""
        return self.assessment.report

    def as_text(self) -> str:
        """The results as a table for the screen."""
        parts = [as_text(self.report, self.folds), *assessments.lines(self.assessment)]
        places = f"\nmodel:  {self.model}\nreport: {self.folder / 'report.html'}"
        return "\n".join([parts[0], "", *parts[1:], places])


def exam(
    catalogue: Catalogue,
    pixels: np.ndarray,
    rows: np.ndarray,
    labels: tuple[str, ...],
    others: np.ndarray | None,
    neighbours: tuple[Similar, tuple[str, ...]] | None,
) -> Exam:
    """Some photos of a catalogue as what a model is examined on.

    Args:
        catalogue: of the photos.
        pixels: uint8 [M, S, S, 3], in the order of `catalogue.usable`.
        rows: int [N], which of them.
        labels: the model's classes.
        others: see `judge.assessment.Exam`.
        neighbours: see `judge.assessment.Exam`.
    """
    usable = catalogue.usable.iloc[rows]
    truth = np.array([labels.index(name) for name in usable["label"]])
    return Exam(
        pixels,
        rows,
        truth,
        labels,
        tuple(usable["path"]),
        lambda path: photos.read(catalogue.root / path),
        others=others,
        neighbours=neighbours,
    )


def write(
    folder: Path,
    assessment: Assessment,
    examined: Exam,
    settings: Mapping[str, object],
    history: pd.DataFrame | None,
    card: Card,
) -> None:
    """Writes report.json, predictions.csv and report.html into `folder`, each atomically.

    Args:
        folder: made when missing.
        assessment: what was measured.
        examined: on which photos.
        settings: how it was measured, for the page.
        history: one row an epoch, or None.
        card: of the model.
    """
    report, probabilities = assessment.report, assessment.probabilities
    table = reports.predictions_table(
        examined.truth, probabilities, report.labels, list(examined.paths)
    )
    table.insert(5, "set", ["|".join(names) for names in card.names(probabilities)])
    if assessment.novelty is not None and card.threshold is not None:
        table.insert(6, "novelty", assessment.novelty)
        table.insert(7, "known", assessment.novelty <= card.threshold)
    files.write_json(folder / "report.json", assessment.as_dict())
    files.write_text(folder / "predictions.csv", table.to_csv(index=False, lineterminator="\n"))
    html = page.page(
        report,
        history,
        settings,
        examined.read,
        sections=assessment.sections,
        tiles=assessment.tiles(),
        unknown=assessment.unknown(),
    )
    files.write_text(folder / "report.html", html)


def neighbours(
    catalogue: Catalogue, levels: Mapping[str, np.ndarray] | None
) -> tuple[Similar, tuple[str, ...]] | None:
    """The training photos by what the network sees in them, with the class of each.

    Args:
        catalogue: of the photos.
        levels: of the training photos (`train.inputs.Inputs.levels`); None where none were kept.
    """
    if not levels or similar.LEVEL not in levels:
        return None
    learned = catalogue.usable.iloc[catalogue.rows("train")]
    return similar.fit(levels[similar.LEVEL], learned["path"].tolist()), tuple(learned["label"])


def write_quick(model: Path, prepared: Photos, say: Callable[[str], None]) -> None:
    """Writes the form that `flowers predict` opens first; what stands in its way is only said.

    The model and its report are saved by then: nothing here may make a failure of the run.

    Args:
        model: the .keras file.
        prepared: the photos that it was trained and tested on.
        say: receives one line.
    """
    listed, form = prepared.catalogue, model.with_name(model.stem + QUICK.ending)
    try:
        row = export.quick(model, prepared.pixels, listed.rows("test"), listed.label_ids)
    except Exception as error:  # of the converter, of its runtime, of the world
        reason = str(error) if isinstance(error, FlowersError) else repr(error)[:300]
        again = f"`flowers export {model} --format {QUICK.name}` tries again"
        say(f"no {form.name}, with which `flowers predict` answers at once: {reason} {again}.")
        return
    say(
        f"{form}: `flowers predict` answers with it at once; the same answers on {row.photos} test "
        f"photos, probabilities within {row.difference:.0e}"
    )


def settings(
    source: Source, catalogue: Catalogue, config: Config, weights: Weights, command: str
) -> dict[str, object]:
    """How the figures came about, in the order in which the report shows it."""
    versions = {name: metadata.version(name) for name in ("flowers", "keras", "numpy", "pillow")}
    backend = keras.backend.backend()
    return {
        "command": command,
        "photos": f"{source.name}: {source.folder}",
        "split": {split: len(catalogue.rows(split)) for split in SPLITS},
        "seed": config.seed,
        "size": f"{config.size} px",
        "backbone": config.backbone,
        "weights": weights.description,
        "phases": [
            f"{phase.name}: up to {phase.epochs} epochs at {phase.rate:g}, batch {phase.batch}, "
            f"{phase.optimizer}, {phase.schedule}"
            for phase in config.phases
        ],
        "views a training photo": config.views,
        "augmentation": config.augmentation,
        "label smoothing": config.label_smoothing,
        "weight decay": config.weight_decay,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": versions | {backend: metadata.version(backend)},
    }
