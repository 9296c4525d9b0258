"""Training photos like the one asked about, as small pictures for the page.

The pictures are drawn anew: nothing else of a photo's file (its name, where and when it was taken)
reaches a visitor.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
from pathlib import Path, PurePosixPath

import numpy as np

from flowers.config import PhotoLimits
from flowers.data import photos
from flowers.errors import FlowersError, InputError
from flowers.ship import card as cards
from flowers.ship import neighbours
from flowers.ship.neighbours import Neighbours
from flowers.ship.predictor import Prediction, Predictor
from flowers.web.limits import PageLimits
from flowers.web.service import SimilarPhoto

SHOWN = 5  # training photos an answer
LONGEST = 128  # px of a picture's longer side
QUALITY = 80  # of the JPEG: 4 kB
KEPT = 1024  # pictures that are held: 4 MB


class SimilarPhotos:
    """Finds the training photos most like one that was asked about: a `service.FindSimilar`."""

    def __init__(self, learned: Neighbours, root: Path, limits: PhotoLimits):
        """Args:
        learned: what the model saw in its training photos.
        root: the folder that their paths are relative to.
        limits: what is decoded; larger training photos are not shown.
        """
        self.root, self._limits = root, limits
        self._search, self._labels = learned
        self._picture = functools.lru_cache(KEPT)(self._drawn)

    @classmethod
    def of(
        cls, model: Path, predictor: Predictor, limits: PageLimits | None = None
    ) -> SimilarPhotos:
        """Those of a model, as training left them: in the folder beside it that has its name.

        Args:
            model: any file of it, exported or not.
            predictor: opened from that file.
            limits: of the page.

        Raises:
            InputError: the model does not say what it sees, its folder is not there or belongs to
                another model, or the photos are not where they were.
        """
        folder = cards.path_of(model).with_suffix("")
        learned = neighbours.load(folder, predictor.card.sha256)
        root = _root(folder / "catalogue.csv")
        side = predictor.card.size
        features = predictor.predict(np.zeros((side, side, 3), np.uint8)).features
        width = len(learned[0].mean)
        if features is None or features.shape != (width,):
            raise InputError(
                f"a model that gives the {width:,} features it sees in a photo",
                f"{model.name}, which gives {'none' if features is None else features.size}",
                "Export it again: `flowers export`.",
            )
        return cls(learned, root, (limits or PageLimits()).photo)

    def __call__(self, prediction: Prediction) -> list[SimilarPhoto]:
        """The most similar training photos, the most similar first; without those that are gone.

        None of a photo that looks like none of the classes: nothing it learned from is like it.
        """
        if prediction.features is None or prediction.known is False:
            return []
        rows, alike = self._search.query(prediction.features[None], SHOWN)
        found = []
        for row, similarity in zip(rows[0], alike[0], strict=True):
            with contextlib.suppress(FlowersError):  # moved, removed or damaged since
                jpeg = self._picture(self._search.paths[row])
                found.append(SimilarPhoto(self._labels[row], float(similarity), jpeg))
        return found

    def _drawn(self, path: str) -> bytes:
        """A JPEG of the training photo at `path` below the root."""
        from PIL import Image

        inside = PurePosixPath(path)
        if inside.is_absolute() or ".." in inside.parts:
            raise InputError("a photo of the training set", "a path that leaves it", "Train again.")
        picture = photos.thumbnail(self.root / inside, LONGEST, self._limits)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY, optimize=True)
        return buffer.getvalue()


def _root(catalogue: Path) -> Path:
    """The folder that a catalogue's photos lie in, without reading all of it.

    Raises:
        InputError: no such file, another one, or the folder is gone.
    """
    try:
        with catalogue.open(encoding="utf-8-sig", newline="") as file:
            root = Path(next(csv.DictReader(file))["folder"])
    except (OSError, ValueError, KeyError, TypeError, StopIteration, csv.Error) as error:
        raise InputError(
            f"the catalogue of the training photos in {catalogue}",
            getattr(error, "strerror", None) or "a file of another kind",
            "Keep the folder beside the model, or train again.",
        ) from error
    if not root.is_dir():
        raise InputError(
            f"the training photos in {root}", "no such folder", "Bring them back, or train again."
        )
    return root
