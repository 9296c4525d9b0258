"""What goes out as JSON: answers, the model's facts, errors."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping

import numpy as np

from flowers import __version__
from flowers.errors import FlowersError, PhotoError
from flowers.ship.card import Card
from flowers.web import words
from flowers.web.limits import PageLimits
from flowers.web.service import Answer


def answer(given: Answer, card: Card) -> dict[str, object]:
    """One photo's answer, or the reason for which there is none."""
    if given.error is not None:
        return {"error": error(given.error)}
    said = given.prediction
    return {
        "sentence": words.sentence(said, card.labels),
        "explanation": words.explanation(said, card),
        "label": said.label,
        "probability": said.probability,
        "scores": said.scores,
        "names": list(said.names),
        "known": said.known,
        "novelty": _number(said.novelty),
        "heat": _heat(said.heat),
        "similar": [
            {
                "label": photo.label,
                "similarity": round(photo.similarity, 4),
                "photo": _data_url(photo.jpeg),
            }
            for photo in given.similar
        ],
    }


def unusable(raised: FlowersError) -> dict[str, dict[str, str]]:
    """An error about the request itself."""
    return problem(raised.expected, raised.received, raised.remedy)


def error(raised: PhotoError) -> dict[str, str]:
    """About one file: what was expected, what came, what to do here; and sentences for people."""
    remedy = "Save it as JPEG or PNG with an image program, and try again."
    return {
        "message": f"That is {raised.received}. {remedy}",
        "expected": raised.expected,
        "received": raised.received,
        "remedy": remedy,
    }


def problem(expected: str, received: str, remedy: str) -> dict[str, dict[str, str]]:
    """The same for an error that no FlowersError stands behind."""
    said = {"expected": expected, "received": received, "remedy": remedy}
    return {"error": {"message": f"{words.capital(received)}. {remedy}", **said}}


def model(card: Card, limits: PageLimits) -> dict[str, object]:
    """What the model is: its classes, how good it is, and what it takes."""
    return {
        "labels": list(card.labels),
        "size": card.size,
        "sha256": card.sha256,
        "version": __version__,
        "metrics": _summary(card.metrics),
        "temperature": card.temperature,
        "coverage": card.sets.coverage if card.sets else None,
        "threshold": card.threshold,
        "limits": {
            "bytes": limits.photo.bytes,
            "pixels": limits.photo.pixels,
            "smallest_side": limits.photo.smallest_side,
            "formats": list(limits.photo.formats),
            "files": limits.files,
            "queue": limits.queue,
            "seconds": limits.seconds,
        },
    }


def _heat(heat: np.ndarray | None) -> list[list[float]] | None:
    if heat is None or not np.isfinite(heat).all():
        return None
    return [[round(float(value), 5) for value in row] for row in heat]


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _summary(metrics: Mapping[str, object]) -> dict[str, object]:
    """Numbers and intervals about all test photos; no tables, and no names of anybody's photos."""
    summary = {}
    for name, value in metrics.items():
        if isinstance(value, int | float):
            summary[name] = _number(value)
        elif isinstance(value, Mapping) and set(value) == {"low", "high"}:
            summary[name] = {end: _number(bound) for end, bound in value.items()}
    return summary


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
