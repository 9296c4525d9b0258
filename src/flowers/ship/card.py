"""flowers.json: what a model file must carry beside it to be used and trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from flowers import files
from flowers.errors import InputError
from flowers.judge.sets import PredictionSets


@dataclass(frozen=True)
class Card:
    """Facts about one model file.

    labels: class names in the order of the probabilities.
    size: side of the square photo the model takes, px.
    sha256: of the model file.
    catalogue: key of the photos it was trained on.
    settings: how it was made (seed, weights, phases, versions), ready for JSON.
    metrics: what was measured on its test photos.
    temperature: what the logits were divided by; it is folded into the model's last layer.
    sets: turns the model's probabilities into prediction sets; None where none were fitted.
    threshold: novelty above it counts as none of the classes; None where no score was fitted.
    """

    labels: tuple[str, ...]
    size: int
    sha256: str
    catalogue: str
    settings: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, object] = field(default_factory=dict)
    temperature: float = 1.0
    sets: PredictionSets | None = None
    threshold: float | None = None

    def names(self, probabilities: np.ndarray) -> list[tuple[str, ...]]:
        """The prediction set of each row of float [N, C], likeliest first.

        Where no sets were fitted it is the likeliest name alone.
        """
        if self.sets is None:
            return [(self.labels[index],) for index in probabilities.argmax(axis=1)]
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            tuple(self.labels[index] for index in places if inside[index])
            for places, inside in zip(order, self.sets.sets(probabilities), strict=True)
        ]

    def save(self, model: Path) -> Path:
        """Writes the card beside the model, atomically."""
        return files.write_json(path_of(model), {"format": 1, **asdict(self)})


def path_of(model: str | Path) -> Path:
    """Where the card of a model file lies: flowers.keras -> flowers.json."""
    return Path(model).with_suffix(".json")


def load(model: str | Path, *, verify: bool = True) -> Card:
    """Reads the card of a model file and, unless told otherwise, compares the file's hash.

    Raises:
        InputError: there is no model or no card, the card is not one, or the model file is not
            the one that the card describes.
    """
    model = Path(model)
    if not model.is_file():
        raise InputError(
            f"a model at {model}", "no such file", "Run `flowers train` first, or name another."
        )
    path = path_of(model)
    if not path.is_file():
        raise InputError(f"the model's card at {path}", "no such file", "Keep both files together.")
    values = files.read_json(path)
    try:
        card = Card(
            labels=tuple(str(label) for label in values["labels"]),
            size=int(values["size"]),
            sha256=str(values["sha256"]),
            catalogue=str(values["catalogue"]),
            settings=dict(values["settings"]),
            metrics=dict(values["metrics"]),
            temperature=float(values.get("temperature", 1.0)),
            sets=PredictionSets.from_dict(values["sets"]) if values.get("sets") else None,
            threshold=None if values.get("threshold") is None else float(values["threshold"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"a model's card in {path}", f"a file with another form ({error})", "Train again."
        ) from error
    if verify and files.sha256(model) != card.sha256:
        raise InputError(
            f"the model that {path.name} describes",
            f"another content of {model}",
            "The file was changed or damaged: train or copy it again.",
        )
    return card
