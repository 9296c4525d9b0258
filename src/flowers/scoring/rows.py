"""From photos to rows: what a worker does, with the exported model and nothing heavier."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from flowers.data import photos
from flowers.errors import InputError, WorldError
from flowers.scoring import sources, stores
from flowers.scoring.plan import Photo
from flowers.scoring.stores import Roots
from flowers.ship import card as cards
from flowers.ship.predictor import Prediction, Predictor

DOUBTS = 3  # photos out of reach, and none in reach before: then it is not the photos
NUMBER = "number"  # a photo's place in the list: how rows find their shard; not written


def schema(labels: Sequence[str]) -> pa.Schema:
    """The columns of a shard; the order of the probabilities stands in the metadata.

    Of a photo that could not be read, `error` says why and the answers are null; `sha256` is null
    where not even its bytes could be had. `known` is false for a photo that looks like none of the
    classes; it and `novelty` are null where the model has no such score.
    """
    return pa.schema(
        [
            ("path", pa.string()),
            ("sha256", pa.string()),
            ("label", pa.string()),
            ("probabilities", pa.list_(pa.float32(), len(labels))),
            ("set", pa.list_(pa.string())),
            ("novelty", pa.float32()),
            ("known", pa.bool_()),
            ("error", pa.string()),
        ],
        metadata={"labels": "\n".join(labels)},
    )


def numbered(labels: Sequence[str]) -> pa.Schema:
    """The columns of rows on their way to a shard."""
    return schema(labels).insert(0, pa.field(NUMBER, pa.int64()))


@dataclass
class _Reach:
    """Whether a photo out of reach is to blame for it, or the disk and the network.

    It is, as long as another one is in reach: the last that came is read again after each failure.
    """

    read: Callable[[str], bytes]
    seen: str | None = None  # the path that came last
    failures: list[WorldError] = field(default_factory=list)  # before anything came

    def came(self, path: str) -> None:
        """Notes that a photo was read."""
        self.seen = path

    def failed(self, error: WorldError) -> None:
        """Notes that one was not; raises WorldError where nothing is in reach."""
        if self.seen is None:
            self.failures.append(error)
            if len(self.failures) == DOUBTS:
                raise error
            return
        with contextlib.suppress(InputError):  # removed or denied meanwhile: that is an answer
            self.read(self.seen)

    def settle(self) -> None:
        """Raises the last failure where nothing ever came."""
        if self.failures and self.seen is None:
            last = self.failures[-1]
            raise WorldError(last.expected, last.received, last.remedy) from last


@dataclass(frozen=True)
class Scorer:
    """Photos in, rows out, on one core.

    A photo that cannot be read becomes a row that says why; what is wrong with the world (the
    disk, the network) is raised, since it says nothing about the photo.
    """

    predictor: Predictor
    roots: Roots
    here: str
    reach: _Reach

    @classmethod
    def load(cls, model: Path, views: int, threads: int, roots: Roots, here: str = "") -> Scorer:
        """Opens the model.

        Args:
            model: a .tflite or .onnx file.
            views: looks at a photo that are averaged.
            threads: of the runtime.
            roots: how to open stores, as `sources.roots` gives it.
            here: the folder where relative paths begin; "" for the process' own.

        Raises:
            InputError: as `Predictor.load` does.
        """
        reach = _Reach(lambda path: sources.read(sources.located(path, here), roots))
        return cls(Predictor.load(model, views, threads), roots, here, reach)

    def rows(
        self, wanted: Iterable[Photo], contents: Iterable[bytes | None] | None = None
    ) -> pa.Table:
        """The rows of some photos, in their order, with the columns of `numbered`.

        Args:
            wanted: the photos.
            contents: their bytes, where somebody has read them; None, nothing or too many bytes
                where that failed: then they are read here, which tells why.

        Raises:
            WorldError: the disk or the store fails, and not for some photos alone.
        """
        facts: list[dict] = []

        def pixels() -> Iterator[np.ndarray]:
            for (number, path), content in zip(
                wanted, contents or itertools.repeat(None), strict=False
            ):
                try:
                    row, photo = self._looked_at(path, content)
                except WorldError as error:
                    self.reach.failed(error)
                    row, photo = {"sha256": None, "error": error.received}, None
                facts.append({NUMBER: number, "path": _text(path), **row})
                if photo is not None:
                    yield photo

        # the predictor takes as many as it runs at once, so that no more are held
        answers = [answer for _, answer in self.predictor.predict_many(pixels())]
        self.reach.settle()
        readable = (row for row in facts if row["error"] is None)
        for row, answer in zip(readable, answers, strict=True):
            row |= self._answer(answer)
        return pa.Table.from_pylist(facts, numbered(self.predictor.card.labels))

    def _looked_at(self, path: str, content: bytes | None) -> tuple[dict, np.ndarray | None]:
        """A photo's hash or error, and uint8 [size, size, 3] or None."""
        row: dict = {"sha256": None, "error": None}
        try:
            if not content or len(content) > sources.LIMITS.bytes:
                content = self.reach.read(path)
            self.reach.came(path)
            if len(content) <= sources.LIMITS.bytes:  # else it was not read to its end
                row["sha256"] = hashlib.sha256(content).hexdigest()
            return row, photos.read(content, self.predictor.card.size)
        except InputError as error:  # PhotoError among them
            return row | {"error": error.received}, None

    def _answer(self, answer: Prediction) -> dict:
        return {
            "label": answer.label,
            "probabilities": [answer.scores[label] for label in self.predictor.card.labels],
            "set": list(answer.names),
            "novelty": answer.novelty,
            "known": answer.known,
        }


def unanswered(photo: Photo, error: str, model: Path) -> pa.Table:
    """The row of a photo that no worker could look at, with the columns of `numbered`."""
    number, path = photo
    row = {NUMBER: number, "path": _text(path), "error": error}
    return pa.Table.from_pylist([row], numbered(cards.load(model).labels))


def may_not_be_read(rows: pa.Table) -> bool:
    """Whether not one of the photos may be read: then the rights are wrong, not the photos."""
    errors = set(rows["error"].to_pylist())
    return errors <= {stores.DENIED, "a file that may not be read"} and len(rows) > 0


def _text(path: str) -> str:
    """A path as UTF-8: bytes that are none are written as \\udcXX."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
