"""What training leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from flowers.config import Config
from flowers.model.classifier import Classifier
from flowers.model.weights import Weights
from flowers.train.inputs import Inputs


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained classifier in float32, how it came about, and one row an epoch.

    inputs: what it was fed with; checkpoint: the file that a call with the same photos and
    settings goes on from; of no more use once the result is saved.
    """

    classifier: Classifier
    config: Config
    weights: Weights
    history: pd.DataFrame
    inputs: Inputs
    checkpoint: Path
