"""From the bytes of uploaded photos to answers, a bounded number at a time."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flowers.data import photos
from flowers.errors import InputError, PhotoError
from flowers.ship.predictor import Prediction, Predictor
from flowers.web import memory, words
from flowers.web.gate import Gate, busy
from flowers.web.limits import PageLimits
from flowers.web.pool import Open, Pool

if TYPE_CHECKING:
    from flowers.web.metrics import Metrics

log = logging.getLogger("flowers.web")

_SPARE = 48 * 1024 * 1024  # bytes more than usual that may be held between photos


@dataclass(frozen=True)
class SimilarPhoto:
    """A training photo like the one asked about: label, cosine (-1 to 1), a small JPEG of it."""

    label: str
    similarity: float
    jpeg: bytes


# what was said of a photo -> the most similar training photos, the most similar first
FindSimilar = Callable[[Prediction], Sequence[SimilarPhoto]]


@dataclass(frozen=True, eq=False)
class Answer:
    """What is said of one photo: a prediction, or why there is none."""

    prediction: Prediction | None = None
    error: PhotoError | None = None
    similar: tuple[SimilarPhoto, ...] = ()


class Service:
    """Answers for one model.

    Photos are decoded one at a time, so that several large ones do not fill the memory together;
    meanwhile the model looks at others (`web.pool`). Training photos that are shown are decoded as
    uploads are.
    """

    def __init__(
        self,
        predictor: Predictor,
        limits: PageLimits,
        metrics: Metrics,
        similar: FindSimilar | None = None,
        open_again: Open | None = None,
    ):
        self.card, self.limits, self.similar = predictor.card, limits, similar
        self.gate = Gate(limits.at_once, limits.queue, limits.seconds)
        self._metrics = metrics
        self._decoding = threading.Lock()
        self._pool = Pool(predictor, open_again)
        self._warm = False
        self._usual = 0  # bytes held when nothing was there to hand back

    @property
    def ready(self) -> bool:
        """Whether a first photo was answered and the next one would be let in."""
        return self._warm and not self.gate.full

    def warm_up(self) -> None:
        """Asks about a grey photo, so that the first visitor does not wait for what is lazy.

        Raises:
            InputError: the model's answer is none, so that nothing it says can be shown.
        """
        side = self.card.size
        prediction = self._pool.predict(np.full((side, side, 3), 128, np.uint8))
        shares = list(prediction.scores.values())
        sound = all(math.isfinite(share) and 0 <= share <= 1 for share in shares)
        if not sound or set(prediction.scores) != set(self.card.labels):
            raise InputError(
                f"a probability for each of {words.classes(self.card.labels)}",
                f"{shares[:10]} for a grey photo",
                "The model is damaged: train or export it again.",
            )
        self._usual = memory.resident() or 0
        self._warm = True

    def answer(self, contents: Sequence[bytes]) -> list[Answer]:
        """An answer for each photo, in order.

        Args:
            contents: the bytes of photo files.

        Raises:
            BusyError: the queue is full, or time ran out.
        """
        with self.gate.passage() as deadline:
            answers = []
            for content in contents:
                if time.monotonic() > deadline:
                    raise busy()
                answers.append(self._answer(content))
            return answers

    def _answer(self, content: bytes) -> Answer:
        started = time.perf_counter()
        try:
            with self._decoding:
                try:
                    photo = photos.read(content, self.card.size, self.limits.photo)
                finally:
                    self._keep_small()
        except PhotoError as error:
            self._note(content, "refused", started)
            return Answer(error=error)
        prediction = self._pool.predict(photo)
        with self._decoding:
            similar = tuple(self.similar(prediction)) if self.similar else ()
        self._note(content, "unknown" if prediction.known is False else "known", started)
        return Answer(prediction, similar=similar)

    def _keep_small(self) -> None:
        """Hands back what a large photo took. What is left after it is what the models need now."""
        if (memory.resident() or 0) > self._usual + _SPARE:
            memory.give_back()
            self._usual = memory.resident() or 0

    def _note(self, content: bytes, outcome: str, started: float) -> None:
        """Counts and logs an answer: size, format and hash of the upload, nothing else of it."""
        seconds = time.perf_counter() - started
        self._metrics.photo(outcome, seconds)
        if log.isEnabledFor(logging.INFO):
            kind = photos.sniff(content[:16]) or "no photo"
            digest = hashlib.sha256(content).hexdigest()[:16]
            milliseconds = 1000 * seconds
            log.info("%s %d bytes %s %.0f ms %s", kind, len(content), digest, milliseconds, outcome)
