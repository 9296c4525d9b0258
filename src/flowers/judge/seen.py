"""What a trained network says of photos, and what it sees in them, in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flowers.model.classifier import Classifier
from flowers.model.folding import folded
from flowers.train import features
from flowers.train.inputs import Inputs


@dataclass(frozen=True, eq=False)
class Seen:
    """Some photos as a network sees them.

    probabilities: float32 [N, C]; levels: for each level of the backbone float32 [N, channels],
    averaged over the photo.
    """

    probabilities: np.ndarray
    levels: Mapping[str, np.ndarray]


def look(classifier: Classifier, pixels: np.ndarray, rows: np.ndarray, what: str) -> Seen:
    """Runs the network over some photos.

    Args:
        classifier: in float32, since its figures are published.
        pixels: uint8 [M, S, S, 3], RGB.
        rows: int [N], which of them.
        what: shown beside the progress bar.
    """
    model = folded(classifier.levels())
    names = sorted(model.output)  # the order in which Keras flattens a dict
    whole = features.each(model, pixels, rows, what)
    arrays = dict(zip(names, whole, strict=True))
    return Seen(arrays.pop("probabilities"), arrays)


def learned(
    inputs: Inputs, classifier: Classifier, pixels: np.ndarray, rows: np.ndarray
) -> Mapping[str, np.ndarray]:
    """What a trained network sees in its training photos: float32 [n, channels] a level.

    Taken from the features that training kept, where it kept them.

    Args:
        inputs: what the network was fed with.
        classifier: the trained network; without levels it gives none.
        pixels: uint8 [M, S, S, 3], RGB.
        rows: int [n], the training photos.
    """
    if not classifier.backbone.levels:
        return {}
    kept = inputs.levels()
    return kept or look(classifier, pixels, rows, "what it has learned to see").levels
