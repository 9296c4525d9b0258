"""What a prediction says, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flowers.ship.card import Card
from flowers.ship.predictor import Prediction

FLOWERS = frozenset({"daisy", "dandelion", "rose", "sunflower", "tulip"})
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def sentence(prediction: Prediction, labels: Sequence[str]) -> str:
    """The answer: "A rose, 97 %", "Rose or tulip", "This does not look like one of ..."."""
    if prediction.known is False:
        return f"This does not look like one of {classes(labels)}"
    names = [_spoken(name) for name in prediction.names]
    if len(names) > 1 and len(names) == len(labels):
        return f"This could be any of {classes(labels)}"
    if len(names) > 1:
        return capital(f"{', '.join(names[:-1])} or {names[-1]}")
    return f"{capital(_with_article(prediction.label))}, {percent(prediction.probability)}"


def explanation(prediction: Prediction, card: Card) -> str:
    """One more sentence: how to take the answer; "" where there is nothing to add."""
    if prediction.known is False:
        nearest = _with_article(prediction.label)
        return f"It is unlike the photos the model learned from. The nearest would be {nearest}."
    if len(prediction.names) > 1:
        if card.sets is None:
            return "The model is not sure which."
        often = percent(card.sets.coverage)
        return f"The model is not sure: a list like this holds the right name {often} of the time."
    if prediction.probability < 0.5:
        return "This is a guess: the model finds no class likely."
    return ""


def classes(labels: Sequence[str]) -> str:
    """The model's classes as one thing: "the five flowers", "the 102 classes"."""
    what = "flowers" if set(labels) <= FLOWERS else "classes"
    count = _NUMBERS[len(labels)] if len(labels) < len(_NUMBERS) else str(len(labels))
    return f"the {count} {what}"


def percent(share: float) -> str:
    """A share of 0 to 1 for people; nothing is ever quite certain or quite impossible."""
    if share > 0.995:
        return "over 99 %"
    if share < 0.005:
        return "under 1 %"
    return f"{100 * share:.0f} %"


def accuracy(metrics: Mapping[str, object]) -> str:
    """How good the model is, from its card; "" where that was not measured."""
    match metrics:
        case {
            "accuracy": float(share),
            "photos": int(photos),
            "accuracy_interval": {"low": float(low), "high": float(high)},
        }:
            return (
                f"Right on {100 * share:.1f} % of {photos:,} photos it had not seen "
                f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)."
            )
    return ""


def _spoken(label: str) -> str:
    return label.replace("_", " ")


def _with_article(label: str) -> str:
    """Only flowers get one: of "automobile", "5" or "faces" nobody knows which."""
    return f"a {label}" if label in FLOWERS else _spoken(label)


def capital(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]
