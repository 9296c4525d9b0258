"""Whether "90 % sure" means right nine times in ten: temperature scaling, and how far off it is.

Source of the method: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks",
ICML 2017. One number, the temperature, is fitted on validation photos; it moves no photo to
another class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Protocol

import numpy as np
from scipy.optimize import minimize_scalar

from flowers.errors import InputError
from flowers.judge.held_out import checked, require_enough
from flowers.judge.intervals import Interval, percentiles, redraw, wilson

BINS = 15  # of equal width, as in Guo et al.
LIMITS = (0.05, 20.0)  # of the temperature; beyond, a model is either certain or knows nothing
REPEATS = 1000  # bootstrap draws


@dataclass(frozen=True)
class Bin:
    """Photos whose top probability lies in (low, high]. Shares are None where there are none."""

    low: float
    high: float
    photos: int
    confidence: float | None  # mean top probability
    accuracy: float | None  # share that is right
    accuracy_interval: Interval | None  # Wilson


@dataclass(frozen=True)
class Sureness:
    """How well probabilities agree with what is so. Intervals are bootstrap, at 95 %."""

    ece: float  # expected calibration error: mean distance of confidence and accuracy, by photo
    ece_interval: Interval  # the basic bootstrap; see `measure`
    ece_of_chance: float  # what perfectly calibrated probabilities would measure on these photos
    nll: float  # mean of -log(probability of the truth), in nats
    nll_interval: Interval
    brier: float  # mean squared distance to the truth, summed over classes: 0 to 2
    brier_interval: Interval
    confidence: float  # mean top probability
    accuracy: float
    bins: tuple[Bin, ...]  # the reliability diagram, from low to high


@dataclass(frozen=True)
class Calibration:
    """The same photos judged before and after the temperature."""

    temperature: float
    photos: int
    before: Sureness
    after: Sureness

    def as_dict(self) -> dict:
        """The numbers as dicts, lists and finite numbers: ready for JSON."""
        values = asdict(self)
        for part in ("before", "after"):
            values[part]["bins"] = list(values[part]["bins"])
        return values

    @classmethod
    def from_dict(cls, values: Mapping) -> Calibration:
        """Reads what `as_dict` wrote; keys it does not know are left alone.

        Raises:
            InputError: a part is missing or has another form.
        """
        try:
            return cls(
                temperature=float(values["temperature"]),
                photos=int(values["photos"]),
                before=_sureness(values["before"]),
                after=_sureness(values["after"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                "a calibration as `flowers evaluate` writes it",
                f"one in which a part is missing or has another form ({error})",
                "Run `flowers evaluate` again to write it anew.",
            ) from error


class _Layer(Protocol):
    def get_weights(self) -> list[np.ndarray]: ...
    def set_weights(self, weights: list[np.ndarray]) -> None: ...


class LayeredModel(Protocol):
    """What `fold` needs of a Keras model."""

    def get_layer(self, name: str) -> _Layer:
        """The layer of that name."""
        ...


def fit(truth: np.ndarray, probabilities: np.ndarray, labels: Sequence[str]) -> float:
    """The temperature that makes validation photos likeliest.

    Args:
        truth: int [N], the index of each validation photo's label; every class at least once.
        probabilities: float [N, C], rows sum to 1. Their logarithms serve as logits: they
            differ from the logits by a number a row, which softmax does not see.
        labels: the C names, for the messages.

    A truth counts as 1 - e, the other classes share e = 1 / (N + 2): a model that happens to be
    right on all N photos is not called certain (Platt, "Probabilistic outputs for support vector
    machines", 1999, section 2.2).

    Returns:
        Above 1 for a model that was too sure, below 1 for one that was not sure enough.

    Raises:
        InputError: what `require_enough` and `checked` refuse.
    """
    truth, probabilities = checked(truth, probabilities)
    require_enough(truth, labels)
    logits = _logits(probabilities)
    doubt = 1 / (len(truth) + 2)
    target = np.full_like(logits, doubt / (logits.shape[1] - 1))
    target[np.arange(len(truth)), truth] = 1 - doubt

    def surprise(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        top = scaled.max(axis=1)
        sums = np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top
        return float((sums - (target * scaled).sum(axis=1)).mean())

    # In the inverse temperature the function is convex, so in its logarithm it has one valley.
    found = minimize_scalar(surprise, bounds=np.log(LIMITS), method="bounded")
    return float(np.exp(found.x))


def apply(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities [N, C] at another temperature: softmax(log(p) / temperature), float64."""
    if not 0 < temperature < np.inf:
        raise ValueError(f"A temperature is above 0 and finite. Received: {temperature}.")
    scaled = _logits(np.asarray(probabilities, dtype=np.float64)) / temperature
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def fold(model: LayeredModel, temperature: float, layer: str = "probabilities") -> None:
    """Divides the last layer by the temperature, in place: the model itself is calibrated then.

    Its outputs become `apply(outputs, temperature)`. Fold once: a second time adds to the first.

    Args:
        model: a Keras model whose last layer is a Dense with softmax.
        temperature: of `fit`.
        layer: the name of that layer.
    """
    if not 0 < temperature < np.inf:
        raise ValueError(f"A temperature is above 0 and finite. Received: {temperature}.")
    last = model.get_layer(layer)
    last.set_weights(
        [weight / np.asarray(temperature, weight.dtype) for weight in last.get_weights()]
    )


def measure(
    truth: np.ndarray, probabilities: np.ndarray, temperature: float, seed: int = 0
) -> Calibration:
    """Judges probabilities before and after the temperature, on photos it was not fitted on.

    Args:
        truth: int [N].
        probabilities: float [N, C] of the model as it was trained, rows sum to 1.
        temperature: of `fit`.
        seed: of the bootstrap draws.

    Raises:
        InputError: what `checked` refuses.
    """
    truth, probabilities = checked(truth, probabilities)
    return Calibration(
        temperature=temperature,
        photos=len(truth),
        before=sureness(truth, probabilities, seed),
        after=sureness(truth, apply(probabilities, temperature), seed),
    )


def sureness(truth: np.ndarray, probabilities: np.ndarray, seed: int = 0) -> Sureness:
    """Measures calibration of probabilities [N, C] against the truth [N].

    The ECE of few photos is too large, since the chance in each bin counts as error, and each
    bootstrap draw adds as much again. The interval of the ECE is therefore the basic bootstrap's
    (mirrored at the measured value), which takes that excess off again; Davison and Hinkley,
    "Bootstrap methods and their application", 1997, section 5.2.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    surprise = -np.log(np.clip(probabilities[np.arange(len(truth)), truth], 1e-12, 1))
    distance = ((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1)

    def scores(*drawn: np.ndarray) -> np.ndarray:
        return np.array([_gap(drawn[0], drawn[1]), drawn[2].mean(), drawn[3].mean()])

    draws = redraw(scores, (confidence, right, surprise, distance), seed, REPEATS)  # [1000, 3]
    ece, drawn = _gap(confidence, right), percentiles(draws[:, 0])
    random = np.random.default_rng(seed)
    chance = [_gap(confidence, random.random(len(truth)) < confidence) for _ in range(200)]
    return Sureness(
        ece=ece,
        ece_interval=Interval(max(0.0, 2 * ece - drawn.high), max(0.0, 2 * ece - drawn.low)),
        ece_of_chance=float(np.mean(chance)),
        nll=float(surprise.mean()),
        nll_interval=percentiles(draws[:, 1]),
        brier=float(distance.mean()),
        brier_interval=percentiles(draws[:, 2]),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        bins=reliability(truth, probabilities),
    )


def expected_calibration_error(
    truth: np.ndarray, probabilities: np.ndarray, bins: int = BINS
) -> float:
    """ECE of top-1 confidence in bins of equal width, 0 to 1.

    Args:
        truth: int [N].
        probabilities: float [N, C].
        bins: how many.
    """
    return _gap(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth, bins)


def reliability(truth: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> tuple[Bin, ...]:
    """Photos by top-1 confidence: the table behind the reliability diagram."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = _places(confidence, bins)
    table = []
    for number in range(bins):
        inside = place == number
        photos, correct = int(inside.sum()), int(right[inside].sum())
        table.append(
            Bin(
                low=number / bins,
                high=(number + 1) / bins,
                photos=photos,
                confidence=float(confidence[inside].mean()) if photos else None,
                accuracy=correct / photos if photos else None,
                accuracy_interval=wilson(correct, photos) if photos else None,
            )
        )
    return tuple(table)


def _logits(probabilities: np.ndarray) -> np.ndarray:
    # float32 softmax ends in zeros; its smallest normal number stands in for them
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))


def _places(confidence: np.ndarray, bins: int) -> np.ndarray:
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def _gap(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    difference = np.bincount(_places(confidence, bins), weights=confidence - right, minlength=bins)
    return float(np.abs(difference).sum() / len(confidence))


def _sureness(values: Mapping) -> Sureness:
    known = {field.name: values[field.name] for field in fields(Sureness)}
    for name in ("ece_interval", "nll_interval", "brier_interval"):
        known[name] = Interval(**known[name])
    return Sureness(**known | {"bins": tuple(_bin(part) for part in known["bins"])})


def _bin(values: Mapping) -> Bin:
    interval = values["accuracy_interval"]
    return Bin(**{**values, "accuracy_interval": Interval(**interval) if interval else None})
