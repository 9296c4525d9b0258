"""Questions about one photo that a saved model answers: why, and what is like it?"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowers import files
from flowers.data import photos
from flowers.errors import InputError
from flowers.judge import explain, figures_explain, seen
from flowers.judge.explain import Explanation
from flowers.judge.similar import LEVEL
from flowers.model import backbone as backbones
from flowers.model.classifier import Classifier
from flowers.ship import bundle, neighbours
from flowers.ship import card as cards
from flowers.ship.card import Card


@dataclass(frozen=True, eq=False)
class Model:
    """A saved model with all that these questions need: Keras' graph, its card, its folder."""

    card: Card
    classifier: Classifier
    folder: Path

    @classmethod
    def load(cls, path: Path) -> Model:
        """Opens a .keras file.

        Raises:
            InputError: see `ship.card.load` and `ship.bundle.load`.
        """
        card = cards.load(path)
        backbone = backbones.find(str(card.settings["backbone"]))
        return cls(card, Classifier(bundle.load(path, card), backbone), path.with_suffix(""))


@dataclass(frozen=True)
class Neighbour:
    """A training photo that is like the one asked about; similarity is a cosine, -1 to 1."""

    path: str  # below the folder of the training photos
    label: str
    similarity: float


def why(model: Model, photo: Path, label: str | None = None) -> tuple[np.ndarray, Explanation]:
    """What in a photo speaks for a class.

    Args:
        model: a saved model.
        photo: its file.
        label: name of the class; None takes what the model says.

    Returns:
        The photo as the model sees it, uint8 [size, size, 3], and its explanation.

    Raises:
        PhotoError: it is no photo.
        InputError: no such class, or a model without a heat map.
    """
    labels = model.card.labels
    if label is not None and label not in labels:
        raise InputError(f"a class out of {', '.join(labels)}", label, "Correct --class.")
    pixels = photos.read(photo, model.card.size)
    number = None if label is None else labels.index(label)
    return pixels, explain.explain(model.classifier.model, pixels, number)


def write_why(model: Model, photo: Path, target: Path, label: str | None = None) -> Explanation:
    """Writes the photo beside its heat map as a picture (PNG), atomically.

    Raises:
        PhotoError, InputError: see `why`.
    """
    pixels, found = why(model, photo, label)
    name = model.card.labels[found.label]
    figure = figures_explain.explanation(pixels, found.heat, name, found.probability)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    files.write_bytes(target, buffer.getvalue())
    return found


def similar(model: Model, photo: Path, count: int = 5) -> tuple[Neighbour, ...]:
    """The training photos that are most like a photo, the most similar first.

    Raises:
        PhotoError: it is no photo.
        InputError: the features of the training photos are not there.
    """
    search, labels = neighbours.load(model.folder, model.card.sha256)
    pixels = photos.read(photo, model.card.size)[None]
    levels = seen.look(model.classifier, pixels, np.arange(1), "the photo").levels
    rows, alike = search.query(levels[LEVEL], count)
    return tuple(
        Neighbour(search.paths[row], labels[row], float(value))
        for row, value in zip(rows[0], alike[0], strict=True)
    )
