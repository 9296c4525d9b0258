"""A saved model measured again, on photos that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from flowers import pipeline
from flowers.data import catalogue as catalogues
from flowers.data import pixels, sources
from flowers.data.catalogue import Catalogue
from flowers.errors import InputError
from flowers.judge import report as reports
from flowers.progress import progress
from flowers.ship.card import Card
from flowers.ship.predictor import Predictor


def evaluate(
    model: Path,
    source: str = "auto",
    *,
    data: Path = Path("data"),
    folder: Path | None = None,
    say: Callable[[str], None] = print,
) -> pipeline.Outcome:
    """Measures a saved model on photos it has not seen.

    Args:
        model: a .keras file with its card and the catalogue of its photos beside it.
        source: see `data.sources.get`. Of the photos that the model was trained on, its test
            photos are taken; of other photos all but those it has seen, by content or look.
        data: folder for downloads and caches.
        folder: of the report; beside the model when left out.
        say: receives a line for every step.

    Raises:
        InputError: no such model, or photos whose classes are not the model's, or all seen.
    """
    predictor = Predictor.load(model)
    card = predictor.card
    found = sources.get(source, data)
    say(f"photos: {found.reason}")
    listed = catalogues.build(found.folder)
    rows = unseen(listed, model.with_suffix("") / "catalogue.csv", card)
    decoded = pixels.cache(listed, card.size, data / "cache")
    batches = [rows[start : start + 32] for start in range(0, len(rows), 32)]
    outputs = [predictor.run(decoded[batch]) for batch in progress(batches, "photos", unit="batch")]
    probabilities = np.concatenate(outputs)
    names = listed.usable["label"].iloc[rows]
    truth = np.array([card.labels.index(name) for name in names])
    paths = listed.usable["path"].iloc[rows].tolist()
    report = reports.evaluate(truth, probabilities, card.labels, paths)
    table = reports.predictions_table(truth, probabilities, card.labels, paths)
    folder = folder or model.with_name(f"{model.stem}-evaluation")
    settings = {"model": str(model), "photos": f"{found.name}: {found.folder}", **card.settings}
    pipeline.write_report(folder, report, table, listed.root, settings, None)
    say(f"measured on {len(rows):,} photos the model has not seen")
    return pipeline.Outcome(model, folder, report)


def unseen(listed: Catalogue, seen: Path, card: Card) -> np.ndarray:
    """int [n]: the usable photos that the model neither learned from nor was chosen by.

    Raises:
        InputError: none is left, a class is not the model's, or the model's catalogue is gone.
    """
    strangers = sorted(set(listed.labels) - set(card.labels))
    if strangers:
        raise InputError(
            f"photos of {', '.join(card.labels)}",
            f"class folders {', '.join(strangers)}",
            "Rename the folders to the model's classes, or take them out.",
        )
    known = catalogues.load(seen, root=listed.root).usable
    used = set(known["sha256"][known["split"] != "test"])
    fresh = ~listed.usable["sha256"].isin(used).to_numpy()
    # a look-alike of a photo it learned from is as good as seen
    groups = listed.usable["group"]
    fresh &= ~groups.isin(set(groups[~fresh])).to_numpy()
    if not fresh.any():
        raise InputError(
            "photos that the model has not learned from",
            f"{len(listed.usable)} photos, all of them its training or validation photos",
            "Bring other photos, or the whole set it was trained on.",
        )
    return np.flatnonzero(fresh)
