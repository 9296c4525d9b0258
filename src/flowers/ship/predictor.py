"""One predictor behind the command line, the notebooks and the page."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowers.data import parallel, photos
from flowers.errors import InputError, PhotoError
from flowers.judge import augmented
from flowers.ship import card as cards
from flowers.ship import runtimes
from flowers.ship.card import Card
from flowers.ship.runtimes import Outputs, Run

BATCH = 32  # photos a forward pass, when many are asked for
MANY = 16  # photos from which on it pays to open a model twice, 0.2 s, to answer side by side
QUICKEST_FIRST = (".tflite", ".onnx")  # how files end that answer as the model does, in float32

Source = str | Path | bytes | np.ndarray  # a photo: its path, its file's bytes, or its pixels


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one photo.

    label: the likeliest class; probability: of it, 0 to 1; scores: probability of every class,
    likeliest first; names: the prediction set, likeliest first, which holds the truth as often as
    was asked for (the label alone where no sets were fitted); novelty: 1 for a typical photo of
    the classes; known: False where the novelty lies above the model's threshold, so that the photo
    looks like none of the classes; heat: float32 [h, w], at least 0, what in the photo speaks for
    the label; features: float32 [D], what the model sees, for `judge.similar`. Novelty, known, heat
    and features are None where the model does not give them.
    """

    label: str
    probability: float
    scores: dict[str, float]
    names: tuple[str, ...]
    novelty: float | None = None
    known: bool | None = None
    heat: np.ndarray | None = None
    features: np.ndarray | None = None

    def as_text(self) -> str:
        """The answer in words: "rose", "rose or tulip", "none of these"."""
        if self.known is False:
            return "none of these"
        return " or ".join(filter(None, [", ".join(self.names[:-1]), self.names[-1]]))

    def as_dict(self) -> dict:
        """All but heat map and features as plain numbers, strings and lists, ready for JSON."""
        return {
            "answer": self.as_text(),
            "label": self.label,
            "probability": self.probability,
            "names": list(self.names),
            "known": self.known,
            "novelty": self.novelty,
            "scores": dict(self.scores),
        }


@dataclass(frozen=True)
class Predictor:
    """A model file, opened: photos in, predictions out.

    `run` maps uint8 or float32 [B, size, size, 3] to "probabilities" [B, classes] and, where the
    model gives them, "novelty" [B], "heat" [B, h, w] and "features" [B, D]: see `ship.runtimes`.
    `views` says in how many ways each photo is looked at; their probabilities are averaged
    (`judge.augmented`). `others` are the same model opened again: many photos are looked at by all
    of them side by side.
    """

    card: Card
    run: Run
    views: int = 1
    others: tuple[Run, ...] = ()

    @classmethod
    def load(
        cls, path: str | Path, views: int = 1, threads: int = runtimes.THREADS, count: int = 1
    ) -> Predictor:
        """Opens a model file of any format whose hash its card knows.

        A .tflite or .onnx file needs neither TensorFlow nor Keras.

        Args:
            path: of the model file.
            views: how many looks at a photo are averaged; each costs a forward pass.
            threads: of the runtime; 1 where other processes use the other cores.
            count: about how many photos will be asked about at once; for many the model is opened
                as often as answers them soonest, each time with one thread.

        Raises:
            InputError: no such file, no card, a hash or an ending that does not fit, a runtime
                that is not installed, or a model whose shapes are not those of its card.
        """
        path = Path(path)
        card = cards.load(path)
        several = runtimes.side_by_side(path) if count >= MANY else 1
        threads = 1 if several > 1 else threads
        run, *others = (runtimes.open_model(path, card, threads=threads) for _ in range(several))
        return cls(card, run, views, tuple(others))

    @classmethod
    def load_quickest(
        cls, model: str | Path, views: int = 1, count: int = 1
    ) -> tuple[Predictor, Path]:
        """Opens the quickest float32 form of a model that lies beside it, or else the model itself.

        A form counts that the card knows, as `flowers train` and `flowers export` leave it: its
        answers were proved to be the model's (`ship.proof.SAME`).

        Args:
            model: the .keras file; it need not be there where a form of it is.
            views: as in `load`.
            count: as in `load`.

        Returns:
            The predictor, and the file that it has opened.

        Raises:
            InputError: as `load`, of the model.
        """
        model = Path(model)
        if model.is_file():
            cards.load(model)  # a model without its card must not be answered for by another's form
        for ending in QUICKEST_FIRST:
            form = model.with_name(model.stem + ending)
            if cards.describes(form):
                # changed, or its runtime is not installed: then the next one
                with contextlib.suppress(InputError):
                    return cls.load(form, views, count=count), form
        return cls.load(model, views), model

    def predict(self, source: Source) -> Prediction:
        """What the model says of one photo.

        Args:
            source: a path, the bytes of a file, or uint8 [height, width, 3], RGB. Pixels of
                another size than the model's are squeezed to it as those of a file are.

        Raises:
            PhotoError: it cannot be read as a photo.
            InputError: an array that holds no photo.
        """
        return self._predictions(self._pixels(source)[None], self.run)[0]

    def predict_many(
        self, sources: Iterable[Source]
    ) -> Iterator[tuple[Source, Prediction | PhotoError]]:
        """Predictions in the order of `sources`; a photo that cannot be read gives its error.

        Photos are decoded in threads while the model computes, some dozens ahead at most.
        """
        if self.others:
            yield from self._side_by_side(sources)
            return
        waiting: list[tuple[Source, np.ndarray | PhotoError]] = []
        for item in parallel.ordered(self._decoded, sources, ahead=BATCH):
            waiting.append(item)
            if len(waiting) == BATCH:
                yield from self._answer(waiting)
                waiting = []
        yield from self._answer(waiting)

    def _side_by_side(
        self, sources: Iterable[Source]
    ) -> Iterator[tuple[Source, Prediction | PhotoError]]:
        """A thread for each of the opened models: while one of them decodes, others compute."""
        free: queue.SimpleQueue[Run] = queue.SimpleQueue()
        for run in (self.run, *self.others):
            free.put(run)

        def answer(source: Source) -> tuple[Source, Prediction | PhotoError]:
            _, photo = self._decoded(source)
            if isinstance(photo, PhotoError):
                return source, photo
            run = free.get()
            try:
                return source, self._predictions(photo[None], run)[0]
            finally:
                free.put(run)

        yield from parallel.ordered(answer, sources, workers=1 + len(self.others))

    def _answer(self, waiting: list) -> Iterator[tuple[Source, Prediction | PhotoError]]:
        readable = [photo for _, photo in waiting if isinstance(photo, np.ndarray)]
        found = iter(self._predictions(np.stack(readable), self.run) if readable else ())
        for source, photo in waiting:
            yield source, next(found) if isinstance(photo, np.ndarray) else photo

    def _decoded(self, source: Source) -> tuple[Source, np.ndarray | PhotoError]:
        try:
            return source, self._pixels(source)
        except PhotoError as error:
            return source, error

    def _pixels(self, source: Source) -> np.ndarray:
        """uint8 [size, size, 3]."""
        size = self.card.size
        if not isinstance(source, np.ndarray):
            return photos.read(source, size)
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or not source.size:
            raise InputError(
                "a photo as uint8 [height, width, 3], RGB",
                f"{source.dtype} of shape {source.shape}",
                "Pass the file itself, or what photos.read gives.",
            )
        return source if source.shape[:2] == (size, size) else photos.resize(source, size)

    def _predictions(self, batch: np.ndarray, run: Run) -> list[Prediction]:
        outputs = run(batch)
        if not np.isfinite(outputs["probabilities"]).all():
            raise InputError(
                "a probability of every class",
                "an answer that is no number",
                "The model is damaged: train or export it again.",
            )
        if self.views > 1:
            others = range(1, self.views)
            looks = [run(augmented.view(batch, n))["probabilities"] for n in others]
            mean = np.mean([outputs["probabilities"], *looks], axis=0)
            outputs = {**outputs, "probabilities": mean}
        names = self.card.names(np.asarray(outputs["probabilities"], np.float64))
        return [self._prediction(outputs, row, names[row]) for row in range(len(batch))]

    def _prediction(self, outputs: Outputs, row: int, names: tuple[str, ...]) -> Prediction:
        probabilities = outputs["probabilities"][row]
        order = np.argsort(-probabilities, kind="stable")
        scores = {self.card.labels[index]: float(probabilities[index]) for index in order}
        label = self.card.labels[order[0]]
        novelty = known = None
        if "novelty" in outputs and self.card.threshold is not None:
            novelty = float(outputs["novelty"][row])
            known = novelty <= self.card.threshold
        heat, features = (outputs[n][row] if n in outputs else None for n in ("heat", "features"))
        return Prediction(label, scores[label], scores, names, novelty, known, heat, features)
