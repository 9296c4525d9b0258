"""Whether a photo looks like the photos the model learned from, or like none of them.

A probability cannot tell: the probabilities of the classes sum to 1 whatever the photo shows. The
novelty score looks at the backbone's features instead, and measures how far they lie from those of
the training photos, in units of how much these vary themselves: the Mahalanobis distance to the
nearest class mean (Lee et al., "A simple unified framework for detecting out-of-distribution
samples and adversarial attacks", NeurIPS 2018), of features scaled to length 1. Directions in
which flowers hardly vary count most, as in the residual of Wang et al., "ViM", CVPR 2022. No photo
of what is to be refused takes part. What else was tried stands in docs/novelty.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from flowers.errors import InputError
from flowers.judge.held_out import FEWEST

KEPT = 0.95  # share of flowers that the threshold lets pass
SURE = 0.95  # how sure the threshold is to let that share pass, over draws of validation photos


@dataclass(frozen=True)
class Recipe:
    """How the features of one level of the backbone are looked at."""

    level: str
    power: float  # of each feature, before scaling to length 1: above 1, strong ones count more
    width: int  # directions judged one by one, at most; the rest is judged by its length
    shrinkage: float = 0.003  # of the mean variance, added to each direction's: few photos overfit


RECIPES = (Recipe("conv4", 1.5, 1024), Recipe("conv5", 0.5, 1024))


@dataclass(frozen=True)
class Level:
    """One level's distance, ready for a graph of plain operations. D features, K directions."""

    power: float
    mean: np.ndarray  # float32 [D]: of the scaled training features
    centres: np.ndarray  # float32 [C, D]: the means of the classes, less `mean`
    projection: np.ndarray  # float32 [D, K]: directions over their standard deviations
    variance: np.ndarray  # float32 [K]: what turns squared projections into squared lengths
    rest: float  # mean of 1 / variance of the directions not among the K; 0 when all are
    weight: float  # of this level in the score

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Squared distance to the nearest class mean: float64 [N].

        Args:
            features: float [N, D], at least 0, averaged over the photo.
        """
        projection = self.projection.astype(np.float64)
        scaled = scale(features, self.power) - self.mean  # [N, D]
        projected = scaled @ projection  # [N, K]
        nearest = np.full(len(scaled), np.inf)
        for centre in self.centres.astype(np.float64):
            squares = (projected - centre @ projection) ** 2
            length = ((scaled - centre) ** 2).sum(axis=1)  # inside the K directions and beyond
            beyond = np.maximum(length - squares @ self.variance, 0)
            nearest = np.minimum(nearest, squares.sum(axis=1) + self.rest * beyond)
        return nearest


@dataclass(frozen=True)
class Contrast:
    """How much farther strong features lie from the mean, learned from flowers alone.

    A photo with strong features is farther from the mean than a pale one and no stranger for it:
    distances are divided by what flowers of its strength have.
    """

    level: str  # whose features' length stands for their strength
    slope: float  # of log(distance) on log(length), by least squares over validation flowers
    low: float  # the shortest and the longest among them: beyond, nothing was learned
    high: float

    def expected(self, features: np.ndarray) -> np.ndarray:
        """What a distance is divided by, float64 [N], from this level's features [N, D]."""
        return np.clip(np.linalg.norm(features, axis=1), self.low, self.high) ** self.slope


@dataclass(frozen=True)
class Novelty:
    """A score of how unlike the training photos a photo is. Fitted by `fit`."""

    levels: Mapping[str, Level]
    contrast: Contrast
    threshold: float  # above it a photo counts as none of the classes
    kept: float  # share of flowers that lie at or below it, at least

    def score(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """float64 [N], at least 0; a typical flower has 1.

        Args:
            features: for each level float [N, D], averaged over the photo.

        Raises:
            InputError: a level is missing, has another width, or is not finite.
        """
        checked = _checked(features, self.levels)
        for name, level in self.levels.items():
            if checked[name].shape[1] != len(level.mean):
                raise InputError(
                    f"{len(level.mean)} features of {name}",
                    f"{checked[name].shape[1]}",
                    "Use the novelty score of this very model, or fit it anew.",
                )
        distances = _distances(self.levels, checked)
        return distances / self.contrast.expected(checked[self.contrast.level])

    def known(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which photos look like one of the classes: bool [N]. Takes what `score` does."""
        return self.score(features) <= self.threshold

    def as_arrays(self) -> dict[str, np.ndarray]:
        """Everything as named arrays, for `np.savez`; `from_arrays` reads them without pickle."""
        arrays = {
            "levels": np.array(list(self.levels)),
            "threshold": np.float64(self.threshold),
            "kept": np.float64(self.kept),
        }
        for field in fields(Contrast):
            arrays[f"contrast.{field.name}"] = np.asarray(getattr(self.contrast, field.name))
        for name, level in self.levels.items():
            for field in fields(level):
                arrays[f"{name}.{field.name}"] = np.asarray(getattr(level, field.name))
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Novelty:
        """Reads what `as_arrays` made, from a dict or an opened .npz.

        Raises:
            InputError: an array is missing, has another shape, or is not finite.
        """
        try:
            levels = {str(name): _level(arrays, str(name)) for name in arrays["levels"]}
            threshold, kept = float(arrays["threshold"]), float(arrays["kept"])
            slope, low, high = (float(arrays[f"contrast.{n}"]) for n in ("slope", "low", "high"))
            contrast = Contrast(str(arrays["contrast.level"]), slope, low, high)
            if contrast.level not in levels:
                raise ValueError("no level of the contrast")
            if not np.isfinite([threshold, kept, slope, low, high]).all():
                raise ValueError("a number that is not finite")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "the arrays of a novelty score as `flowers train` writes them",
                f"some that are missing or do not fit ({error})",
                "Train again, or bring the file that belongs to this model.",
            ) from error
        return cls(levels, contrast, threshold, kept)


def fit(
    training: Mapping[str, np.ndarray],
    truth: np.ndarray,
    validation: Mapping[str, np.ndarray],
    kept: float = KEPT,
    recipes: Collection[Recipe] = RECIPES,
) -> Novelty:
    """Learns what is usual from training photos, and how unusual is too unusual from validation.

    Args:
        training: for each level of `recipes` float [N, D], averaged over the photo, at least 0.
        truth: int [N], the classes of the training photos.
        validation: the same of photos held out of training.
        kept: share of flowers to let pass, at least: the threshold is the score of the validation
            photo that `tolerance_rank` names.
        recipes: which levels, and how; the first one's features also give the contrast.

    Raises:
        InputError: fewer than 20 validation photos, or fewer than `kept` needs; a level that is
            missing, not finite or of different width in the two; labels that do not fit.
    """
    names = [recipe.level for recipe in recipes]
    training, validation = _checked(training, names), _checked(validation, names)
    truth = np.asarray(truth)
    photos, held_out = (len(part[names[0]]) for part in (training, validation))
    if truth.shape != (photos,) or truth.dtype.kind not in "iu":
        raise InputError(
            f"{photos} class indices, one a training photo",
            f"{truth.dtype} of shape {truth.shape}",
            "Pass the labels and the features of the same photos.",
        )
    if not 0 < kept < 1:
        raise InputError("a share of flowers between 0 and 1", f"{kept}", "Ask for 0.95.")
    needed = max(FEWEST, int(np.ceil(kept / (1 - kept) - 1e-9)))
    if held_out < needed:
        raise InputError(
            f"at least {needed} validation photos to know which flowers are unusual",
            f"{held_out}",
            "Add photos, or give validation a larger share.",
        )
    levels = {}
    for recipe in recipes:
        level = _fit_level(training[recipe.level], truth, recipe)
        # each level speaks equally loud: by how much flowers differ in it
        spread = float(level.distance(validation[recipe.level]).std())
        levels[recipe.level] = replace(level, weight=1 / max(spread, 1e-12))
    distances = _distances(levels, validation)
    contrast = _fit_contrast(names[0], validation[names[0]], distances)
    scores = distances / contrast.expected(validation[names[0]])
    typical = float(np.median(scores))
    levels = {n: replace(level, weight=level.weight / typical) for n, level in levels.items()}
    threshold = np.sort(scores)[tolerance_rank(held_out, kept) - 1] / typical
    return Novelty(levels, contrast, float(threshold), kept)


def tolerance_rank(photos: int, kept: float, sure: float = SURE) -> int:
    """Which of the sorted scores of `photos` flowers bounds a share `kept` of all flowers.

    A quantile keeps that share on average over draws of the photos: in every second draw it keeps
    less. The score of the rank returned, counted from 1, keeps at least that share in a share
    `sure` of the draws, whatever the scores' distribution: an upper tolerance limit (Wilks,
    "Determination of sample sizes for setting tolerance limits", Annals of Mathematical Statistics
    12, 1941). The number of flowers at or below the true quantile is binomial, and the rank has to
    lie above it. Too few photos for that (fewer than 59 for 0.95 and 0.95) give the last rank,
    which is the surest there is: 1 - kept ** photos.
    """
    from scipy.stats import binom  # imported here: who only reads a score need not have it

    return min(photos, int(binom.ppf(sure, photos, kept)) + 1)


def scale(features: np.ndarray, power: float) -> np.ndarray:
    """Features [N, D] to the power, then to length 1: float64. A photo of zeros stays zeros."""
    raised = np.maximum(np.asarray(features, dtype=np.float64), 0) ** power
    return raised / np.maximum(np.linalg.norm(raised, axis=1, keepdims=True), 1e-12)


def _fit_level(features: np.ndarray, truth: np.ndarray, recipe: Recipe) -> Level:
    scaled = scale(features, recipe.power)
    mean = scaled.mean(axis=0)
    centred = scaled - mean
    classes = np.unique(truth)
    centres = np.stack([centred[truth == index].mean(axis=0) for index in classes])  # [C, D]
    within = centred - centres[np.searchsorted(classes, truth)]
    values, vectors = np.linalg.eigh(within.T @ within / len(within))
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]  # largest first
    variance = values + max(recipe.shrinkage * float(values.mean()), 1e-12)
    width = min(recipe.width, len(variance))
    projection = vectors[:, :width] / np.sqrt(variance[:width])
    return Level(
        power=recipe.power,
        mean=mean.astype(np.float32),
        centres=centres.astype(np.float32),
        projection=projection.astype(np.float32),
        variance=variance[:width].astype(np.float32),
        rest=float((1 / variance[width:]).mean()) if width < len(variance) else 0.0,
        weight=1.0,
    )


def _distances(levels: Mapping[str, Level], features: Mapping[str, np.ndarray]) -> np.ndarray:
    return sum(level.weight * level.distance(features[name]) for name, level in levels.items())


def _fit_contrast(name: str, features: np.ndarray, distances: np.ndarray) -> Contrast:
    lengths = np.maximum(np.linalg.norm(features, axis=1), 1e-12)
    x, y = np.log(lengths), np.log(np.maximum(distances, 1e-12))
    slope = float(np.mean((x - x.mean()) * (y - y.mean())) / max(float(x.var()), 1e-12))
    return Contrast(name, slope, float(lengths.min()), float(lengths.max()))


def _checked(features: Mapping[str, np.ndarray], names: Collection[str]) -> dict[str, np.ndarray]:
    """Float arrays [N, D] of each level, as many rows in each, or an InputError."""
    missing = [name for name in names if name not in features]
    if missing:
        raise InputError(
            f"features of the levels {', '.join(names)}",
            f"none of {', '.join(missing)}",
            "Pass the averaged outputs of these stages of the backbone.",
        )
    arrays = {name: np.asarray(features[name], dtype=np.float64) for name in names}
    shapes = {name: array.shape for name, array in arrays.items()}
    if (
        any(len(shape) != 2 for shape in shapes.values())
        or len({shape[0] for shape in shapes.values()}) != 1
    ):
        raise InputError(
            "features [photos, width] of the same photos in every level",
            f"shapes {shapes}",
            "Average the feature maps over the photo first.",
        )
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        raise InputError(
            "features that are finite numbers",
            f"NaN or infinity in {', '.join(broken)}",
            "A model that answers NaN must be trained again.",
        )
    return arrays


def _level(arrays: Mapping[str, np.ndarray], name: str) -> Level:
    parts = {field.name: np.asarray(arrays[f"{name}.{field.name}"]) for field in fields(Level)}
    width, directions = parts["projection"].shape
    shapes = {
        "mean": (width,),
        "centres": (len(parts["centres"]), width),
        "variance": (directions,),
        "power": (),
        "rest": (),
        "weight": (),
    }
    for part, shape in shapes.items():
        if parts[part].shape != shape:
            raise ValueError(f"{name}.{part} has shape {parts[part].shape}, not {shape}")
    for part, array in parts.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name}.{part} is not finite")
    return Level(**parts | {part: float(parts[part]) for part in ("power", "rest", "weight")})
