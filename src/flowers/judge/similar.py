"""Similar photos: the training photos whose pooled features point the same way.

Similarity is the cosine between features less their mean, which is common to all photos and tells
none apart. The features are reduced to their principal components: on the five flowers 128 of
2,048 find neighbours of the same class as often as all of them (0.910 and 0.908 of the five
nearest), in a sixteenth of the space. They are not whitened, which would make the components that
hardly vary count as much as the others (0.829).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flowers.errors import InputError

LEVEL = "conv5"  # of the backbone: the one whose features, averaged over the photo, are compared
COMPONENTS = 128
BLOCK = 8192  # training photos in one matrix product: 4 MB of features


@dataclass(frozen=True, eq=False)
class Similar:
    """The training photos by their features, ready to be searched.

    mean: float32 [D]; components: float32 [D, d], orthonormal columns; rows: float32 [N, d] of
    length 1 (or 0, where a photo's features are the mean); paths: N texts.
    """

    mean: np.ndarray
    components: np.ndarray
    rows: np.ndarray
    paths: tuple[str, ...]

    def query(self, features: np.ndarray, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """The k most similar training photos of each photo, the most similar first.

        The search is exact: a matrix product with all of them, block by block; about 3 ms for a
        photo among 100,000. A photo that is itself among them comes first, with similarity 1.

        Args:
            features: float [B, D], as `fit` took them.
            k: how many; all where there are fewer.

        Returns:
            Numbers into `paths`, int [B, k], and similarities, float32 [B, k], -1 to 1.

        Raises:
            InputError: features of another width or that are no numbers, or k below 1.
        """
        features = _checked(features, len(self.mean))
        if k < 1:
            raise InputError("at least one similar photo", str(k), "Ask for one or more.")
        wanted = _unit((features - self.mean) @ self.components)
        indices = np.empty((len(wanted), 0), np.int64)
        similarities = np.empty((len(wanted), 0), np.float32)
        for start in range(0, len(self.rows), BLOCK):
            block = wanted @ self.rows[start : start + BLOCK].T  # [B, BLOCK]
            near = _largest(block, k)
            indices = np.concatenate([indices, near + start], axis=1)
            similarities = np.concatenate(
                [similarities, np.take_along_axis(block, near, axis=1)], axis=1
            )
            best = _largest(similarities, k)  # of the blocks so far
            indices = np.take_along_axis(indices, best, axis=1)
            similarities = np.take_along_axis(similarities, best, axis=1)
        return indices, np.clip(similarities, -1, 1)

    def arrays(self) -> dict[str, np.ndarray]:
        """What `from_arrays` needs, for an .npz file that is opened without pickle."""
        text = "\0".join(self.paths).encode("utf-8", "surrogateescape")
        return {
            "mean": self.mean,
            "components": self.components,
            "rows": self.rows.astype(np.float16),  # exact to 0.0005 where a length is 1
            "paths": np.frombuffer(text, np.uint8),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Similar:
        """The same again from what `arrays` gave.

        Raises:
            InputError: arrays are missing or do not fit each other.
        """
        try:
            text = arrays["paths"].tobytes().decode("utf-8", "surrogateescape")
            paths = tuple(text.split("\0")) if text else ()
            mean, components, rows = (arrays[name] for name in ("mean", "components", "rows"))
            fit_together = (
                components.shape == (len(mean), rows.shape[1]) and len(rows) == len(paths) > 0
            )
        except (KeyError, ValueError, IndexError, TypeError):
            fit_together = False
        if not fit_together:
            raise InputError(
                "features of training photos with their paths",
                "arrays that do not fit each other",
                "Remove the file and make it again with `flowers train`.",
            )
        return cls(mean, components, rows.astype(np.float32), paths)


def fit(features: np.ndarray, paths: Sequence[str], components: int = COMPONENTS) -> Similar:
    """Prepares the search among training photos.

    Args:
        features: float [N, D], pooled features of the training photos.
        paths: N texts that name them.
        components: principal components to keep; no more than the features have.

    Raises:
        InputError: fewer than two photos, photos that are all alike, or features that are no
            numbers.
    """
    from scipy import linalg  # imported here: who only asks, as the page does, need not have it

    features = _checked(features, None)
    if len(features) < 2 or len(features) != len(paths):
        raise InputError(
            "at least two training photos with a path each",
            f"features of {len(features)} photos, {len(paths)} paths",
            "Bring more photos.",
        )
    mean = features.mean(axis=0)
    centred = features - mean
    # the largest eigenvectors of the covariance, D x D whatever the number of photos
    width = features.shape[1]
    variances, vectors = linalg.eigh(
        centred.T @ centred / len(features), subset_by_index=[max(width - components, 0), width - 1]
    )
    real = variances > 1e-6 * max(variances[-1], 0)  # the rest is rounding
    if not real.any():
        raise InputError(
            "training photos that differ", "the same features for all", "Check the photos."
        )
    kept = np.ascontiguousarray(vectors[:, real][:, ::-1])
    return Similar(mean, kept, _unit(centred @ kept), tuple(str(path) for path in paths))


def agreement(
    similar: Similar, features: np.ndarray, truth: np.ndarray, labels: np.ndarray, k: int = 5
) -> float:
    """How often a photo and those found similar to it show the same class, 0 to 1.

    Args:
        similar: the training photos.
        features: float [B, D], of photos that are not among them.
        truth: int [B], their classes.
        labels: int [N], the classes of the training photos, in the order of `similar.paths`.
        k: how many similar photos of each to count.
    """
    found, _ = similar.query(features, k)
    return float((np.asarray(labels)[found] == np.asarray(truth)[:, None]).mean())


def _checked(features: np.ndarray, width: int | None) -> np.ndarray:
    features = np.asarray(features, np.float32)
    shaped = features.ndim == 2 and width in (None, features.shape[1])
    if not shaped or not np.isfinite(features).all():
        raise InputError(
            f"finite features, one row of {width or 'equal length'} a photo",
            f"shape {features.shape}" if not shaped else "some that are no numbers",
            "Compute them with the model that the search was made for.",
        )
    return features


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """int [B, k]: where the largest of each row are, in falling order."""
    if values.shape[1] > k:
        found = np.argpartition(values, -k, axis=1)[:, -k:]
    else:
        found = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    falling = np.argsort(-np.take_along_axis(values, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, falling, axis=1)


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.where(lengths > 0, lengths, 1), dtype=np.float32)
