"""How far a trained model can be trusted, measured, and saved with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from flowers import files, results
from flowers.data.prepared import Photos
from flowers.judge import calibration, seen
from flowers.judge import trust as trusts
from flowers.judge.assessment import examine
from flowers.judge.folds import Folds
from flowers.judge.trust import Trust
from flowers.model.classifier import Classifier
from flowers.results import Outcome
from flowers.ship import bundle, neighbours
from flowers.ship import card as cards
from flowers.ship.card import Card
from flowers.train.trained import Trained

Say = Callable[[str], None]


def trust(
    prepared: Photos, trained: Trained, levels: Mapping[str, np.ndarray], *, say: Say = print
) -> Trust:
    """Fits on the validation photos how far answers can be trusted, and calibrates the model.

    The temperature is folded into the classifier, in place.

    Args:
        prepared: the photos.
        trained: the classifier.
        levels: of the training photos (`judge.seen.learned`).
        say: receives a line about what could not be fitted.
    """
    catalogue, classifier = prepared.catalogue, trained.classifier
    rows, truth = catalogue.rows("validation"), catalogue.label_ids
    validation = seen.look(classifier, prepared.pixels, rows, "validation photos")
    learned = truth[catalogue.rows("train")]
    fitted = trusts.fit(validation, truth[rows], levels, learned, catalogue.labels, say)
    calibration.fold(classifier.model, fitted.temperature)
    return fitted


def judge(
    prepared: Photos,
    trained: Trained,
    trusted: Trust,
    levels: Mapping[str, np.ndarray],
    *,
    model: Path,
    command: str = "",
    others: np.ndarray | None = None,
    folds: Folds | None = None,
) -> Outcome:
    """Measures the trained model on the test photos and saves it with its card and report.

    The model is saved first, and the saved file is what is measured. It takes its place together
    with its card, when that is known.
    """
    catalogue = prepared.catalogue
    learned = results.neighbours(catalogue, levels)
    exam = results.exam(
        catalogue, prepared.pixels, catalogue.rows("test"), catalogue.labels, others, learned
    )
    settings = results.settings(
        prepared.source, catalogue, trained.config, trained.weights, command
    )
    if folds:
        low, high = folds.interval.low, folds.interval.high
        settings[f"{len(folds.accuracies)}-fold mean"] = (
            f"{folds.mean:.3f} (95 % interval {low:.3f} to {high:.3f})"
        )
    with files.beside(model) as made:
        bundle.save(trained.classifier.model, made, trusted.novelty)
        classifier = Classifier(bundle.read(made), trained.classifier.backbone)
        measured = examine(classifier, trusted, exam)
        card = Card(
            labels=catalogue.labels,
            size=trained.config.size,
            sha256=files.sha256(made),
            catalogue=catalogue.key(),
            settings=settings,
            metrics=measured.as_dict(),
            temperature=trusted.temperature,
            sets=trusted.sets,
            threshold=trusted.novelty.threshold if trusted.novelty else None,
        )
        with cards.replacing(model, card):
            files.publish(made, model)
    folder = model.with_suffix("")
    results.write(folder, measured, exam, settings, trained.history, card)
    files.write_text(folder / "history.csv", trained.history.to_csv(index=False))
    catalogue.save(folder / "catalogue.csv")
    if learned:
        neighbours.save(folder, card.sha256, *learned)
    return Outcome(model, folder, measured, folds)
