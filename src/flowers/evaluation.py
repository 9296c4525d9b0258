"""A saved model measured again, on photos that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from flowers import results
from flowers.data import catalogue as catalogues
from flowers.data import pixels, sources
from flowers.data.catalogue import Catalogue
from flowers.errors import InputError
from flowers.judge import refusal
from flowers.judge.assessment import Effort, examine
from flowers.judge.trust import Trust
from flowers.model import backbone as backbones
from flowers.model.classifier import Classifier
from flowers.results import Outcome
from flowers.ship import bundle, neighbours
from flowers.ship import card as cards
from flowers.ship.card import Card
from flowers.ship.neighbours import Neighbours

THOROUGH = Effort()


def evaluate(
    model: Path,
    source: str = "auto",
    *,
    data: Path = Path("data"),
    folder: Path | None = None,
    others: Path | None = None,
    effort: Effort = THOROUGH,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Measures a saved model on photos it has not seen.

    Args:
        model: a .keras file with its card and the catalogue of its photos beside it.
        source: see `data.sources.get`. Of the photos that the model was trained on, its test
            photos are taken; of other photos all but those it has seen, by content or look.
        data: folder for downloads and caches.
        folder: of the report; beside the model when left out.
        others: a folder of photos that show none of the classes: measures how many are refused.
        effort: see `judge.assessment.examine`.
        say: receives a line for every step.

    Raises:
        InputError: no such model, or photos whose classes are not the model's, or all seen.
    """
    card = cards.load(model)
    found = sources.get(source, data)
    say(f"photos: {found.reason}")
    listed = catalogues.of(found)
    rows = unseen(listed, model.with_suffix("") / "catalogue.csv", card)
    strangers = None
    if others:
        known = listed.table["sha256"], card.labels
        strangers = refusal.read_strangers(others, card.size, *known, say)
    decoded = pixels.cache(listed, card.size, data / "cache")
    exam = results.exam(
        listed, decoded, rows, card.labels, strangers, _neighbours(model, card, listed)
    )
    classifier = Classifier(bundle.load(model, card), backbones.find(card.settings["backbone"]))
    trusted = Trust(card.temperature, card.sets, bundle.load_novelty(model))
    measured = examine(classifier, trusted, exam, effort)
    folder = folder or model.with_name(f"{model.stem}-evaluation")
    settings = {"model": str(model), "photos": f"{found.name}: {found.folder}", **card.settings}
    results.write(folder, measured, exam, settings, None, card)
    say(f"measured on {len(rows):,} photos the model has not seen")
    return Outcome(model, folder, measured)


def _neighbours(model: Path, card: Card, listed: Catalogue) -> Neighbours | None:
    """The training photos, where they are those of this very folder: else none can be shown."""
    kept = neighbours.find(model.with_suffix(""), card.sha256)
    if kept is None or not set(kept[0].paths) <= set(listed.table["path"]):
        return None
    return kept


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
