"""How far a model's answers can be trusted: fitted on validation photos, measured on test photos.

Three things are learned from photos held out of training: how sure the model may be (calibration),
how many names an answer needs (sets), and what looks like none of the classes (novelty).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flowers.errors import InputError
from flowers.judge import calibration as calibrations
from flowers.judge import novelty as novelties
from flowers.judge import refusal as refusals
from flowers.judge import sets as prediction_sets
from flowers.judge.calibration import Calibration
from flowers.judge.novelty import Novelty
from flowers.judge.refusal import Refusal
from flowers.judge.seen import Seen
from flowers.judge.sets import PredictionSets, SetsReport

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Trust:
    """What was fitted on validation photos; a part is None where they were too few for it.

    temperature: what the logits are divided by; 1 leaves them as they were trained.
    """

    temperature: float = 1.0
    sets: PredictionSets | None = None
    novelty: Novelty | None = None


@dataclass(frozen=True)
class Trustworthiness:
    """What was measured on test photos; a part is None where nothing was fitted."""

    calibration: Calibration | None = None
    sets: SetsReport | None = None
    refusal: Refusal | None = None

    def as_dict(self) -> dict:
        """The numbers as dicts and lists: ready for JSON."""
        parts = {"calibration": self.calibration, "sets": self.sets, "refusal": self.refusal}
        return {name: part.as_dict() if part else None for name, part in parts.items()}


def fit(
    validation: Seen,
    truth: np.ndarray,
    training: Mapping[str, np.ndarray],
    training_truth: np.ndarray,
    labels: Sequence[str],
    say: Say,
) -> Trust:
    """Fits what the validation photos suffice for, and says what they do not suffice for.

    Args:
        validation: photos that the network has not learned from, as it sees them.
        truth: int [N], their classes.
        training: levels of the training photos, float [M, channels] each; empty for a network
            without levels.
        training_truth: int [M], their classes.
        labels: the C names.
        say: receives a line about each part that could not be fitted.
    """

    def attempt(what: str, fitting: Callable):
        try:
            return fitting()
        except InputError as error:
            say(f"{what}: {error}")
            return None

    temperature = attempt(
        "probabilities are not calibrated",
        lambda: calibrations.fit(truth, validation.probabilities, labels),
    )
    calibrated = calibrations.apply(validation.probabilities, temperature or 1.0)
    sets = attempt("no prediction sets", lambda: prediction_sets.fit(truth, calibrated, labels))
    novelty = None
    if training:
        novelty = attempt(
            "no “none of these”",
            lambda: novelties.fit(training, training_truth, validation.levels),
        )
    return Trust(temperature or 1.0, sets, novelty)


def measure(
    trust: Trust,
    test: Seen,
    truth: np.ndarray,
    labels: Sequence[str],
    others: Seen | None = None,
) -> Trustworthiness:
    """Measures what was fitted, on photos that nothing was fitted on.

    Args:
        trust: of `fit`.
        test: test photos as the calibrated network sees them.
        truth: int [N], their classes.
        labels: the C names.
        others: photos of other things, which should be refused; None where there are none.
    """
    before = calibrations.apply(test.probabilities, 1 / trust.temperature)
    calibration = sets = refusal = None
    if trust.sets is not None:
        calibration = calibrations.measure(truth, before, trust.temperature)
        sets = prediction_sets.measure(trust.sets, truth, test.probabilities, labels)
    if trust.novelty is not None:
        strangers = None if others is None else trust.novelty.score(others.levels)
        refusal = refusals.measure(
            trust.novelty.score(test.levels), trust.novelty.threshold, strangers
        )
    return Trustworthiness(calibration, sets, refusal)
