"""One predictor behind the command line, the notebooks and, later, the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowers.data import photos
from flowers.errors import InputError, PhotoError
from flowers.ship import card as cards
from flowers.ship.card import Card

BATCH = 32  # photos a forward pass, when many are asked for


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one photo.

    label: the likeliest class; probability: of it, 0 to 1; scores: probability of every class,
    likeliest first; names: the prediction set, likeliest first, which holds the truth as often as
    was asked for (the label alone where no sets were fitted); novelty: 1 for a typical photo of
    the classes; known: False where the novelty lies above the model's threshold, so that the photo
    looks like none of the classes; heat: float32 [h, w], at least 0, what in the photo speaks for
    the label. Novelty, known and heat are None where the model does not give them.
    """

    label: str
    probability: float
    scores: dict[str, float]
    names: tuple[str, ...]
    novelty: float | None = None
    known: bool | None = None
    heat: np.ndarray | None = None


@dataclass(frozen=True)
class Predictor:
    """A model file, opened: photos in, predictions out.

    `run` maps uint8 [B, size, size, 3] to float32 [B, classes].
    """

    card: Card
    run: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def load(cls, path: str | Path) -> Predictor:
        """Opens a .keras file whose hash its card knows.

        Raises:
            InputError: no such file, no card, a hash or an ending that does not fit, or a model
                whose shapes are not those of its card.
        """
        path = Path(path)
        card = cards.load(path)
        if path.suffix != ".keras":
            raise InputError("a model file ending in .keras", path.name, "Name another file.")
        return cls(card, _open_keras(path, card))

    def predict(self, source: str | Path | bytes) -> Prediction:
        """What the model says of one photo: a path or the bytes of a file.

        Raises:
            PhotoError: it cannot be read as a photo.
        """
        photo = photos.read(source, self.card.size)
        return self._prediction(self.run(photo[None])[0])

    def predict_many(
        self, sources: Iterable[str | Path]
    ) -> Iterator[tuple[str | Path, Prediction | PhotoError]]:
        """Predictions in the order of `sources`; a photo that cannot be read gives its error."""
        waiting: list[tuple[str | Path, np.ndarray | PhotoError]] = []
        for source in sources:
            try:
                waiting.append((source, photos.read(source, self.card.size)))
            except PhotoError as error:
                waiting.append((source, error))
            if len(waiting) == BATCH:
                yield from self._answer(waiting)
                waiting = []
        yield from self._answer(waiting)

    def _answer(self, waiting: list) -> Iterator[tuple[str | Path, Prediction | PhotoError]]:
        readable = [photo for _, photo in waiting if isinstance(photo, np.ndarray)]
        rows = iter(self.run(np.stack(readable)) if readable else ())
        for source, photo in waiting:
            fine = isinstance(photo, np.ndarray)
            yield source, self._prediction(next(rows)) if fine else photo

    def _prediction(self, probabilities: np.ndarray) -> Prediction:
        order = np.argsort(-probabilities, kind="stable")
        scores = {self.card.labels[index]: float(probabilities[index]) for index in order}
        label = self.card.labels[order[0]]
        return Prediction(label, scores[label], scores, self.card.names(probabilities[None])[0])


def _open_keras(path: Path, card: Card) -> Callable[[np.ndarray], np.ndarray]:
    from flowers.ship import bundle  # Keras costs seconds, and exported formats need none of it

    model = bundle.load(path, card)
    return lambda batch: np.asarray(model.predict_on_batch(batch), np.float32)
