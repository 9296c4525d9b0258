"""A predictor over a .tflite file, for tests; what its model cannot say is made up from the photo.

As a script it serves one: `python lite.py MODEL [SECONDS]`, where SECONDS is the limit of a
request. It prints the page's address, and when stopped which heavy packages it has imported.
For gunicorn there is `create`, which reads the model's path from FLOWERS_MODEL.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flowers.data import photos
from flowers.judge.sets import PredictionSets
from flowers.ship import card as cards
from flowers.ship.predictor import Prediction, Predictor

HEAVY = {"tensorflow", "keras", "pandas", "scipy", "sklearn", "matplotlib", "requests"}


@dataclass(frozen=True)
class LitePredictor(Predictor):
    """Adds to the probabilities of the model a heat map, and doubts about photos of one colour."""

    def predict(self, source: str | Path | bytes | np.ndarray) -> Prediction:
        """As `Predictor.predict`, and for an array as `photos.read` gives it."""
        array = isinstance(source, np.ndarray)
        photo = source if array else photos.read(source, self.card.size)
        shares = self.run(photo[None])[0]
        order = np.argsort(-shares, kind="stable")
        scores = {self.card.labels[index]: float(shares[index]) for index in order}
        label, names = self.card.labels[order[0]], self.card.names(shares[None])[0]
        grey = photo.mean(axis=2, dtype=np.float32)
        cells = grey[: grey.shape[0] // 4 * 4, : grey.shape[1] // 4 * 4]
        heat = cells.reshape(4, cells.shape[0] // 4, 4, cells.shape[1] // 4).mean(axis=(1, 3)) / 255
        novelty = float(2 - min(photo.std() / 20, 1.5))
        return Prediction(label, scores[label], scores, names, novelty, novelty < 1.9, heat)


def load(path: Path, change: Callable[[cards.Card], cards.Card] = lambda card: card) -> Predictor:
    """Opens a .tflite file with its card, by the runtime that a small host has."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    photo, probabilities = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(batch: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(photo["index"], batch.astype(np.float32))
        interpreter.invoke()
        return interpreter.get_tensor(probabilities["index"])

    return LitePredictor(change(cards.load(path)), run)


def with_sets(card: cards.Card) -> cards.Card:
    """A card that asks for more names than one."""
    return replace(card, sets=PredictionSets(coverage=0.95, threshold=0.5, penalty=0.0, free=1))


def create():
    """The application, for gunicorn."""
    from flowers.web.app import create_app

    return create_app(load(Path(os.environ["FLOWERS_MODEL"])))


def main() -> None:
    """Serves a model until a signal comes."""
    from flowers.web.app import create_app
    from flowers.web.limits import PageLimits
    from flowers.web.server import serve

    limits = PageLimits(seconds=float(sys.argv[2])) if len(sys.argv) > 2 else PageLimits()
    app = create_app(load(Path(sys.argv[1])), limits)
    serve(app, "127.0.0.1", 0, limits, started=lambda address: print(address, flush=True))
    print(*sorted(HEAVY & {name.split(".")[0] for name in sys.modules}), flush=True)


if __name__ == "__main__":
    main()
