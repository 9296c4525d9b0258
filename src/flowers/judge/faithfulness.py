"""Do heat maps point at what matters? Deletion and insertion of the places they call hot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image, ImageFilter

from flowers.errors import InputError
from flowers.judge.explain import Explanation
from flowers.judge.intervals import Interval, bootstrap
from flowers.progress import progress

BATCH = 32  # photos a forward pass
MOST = 100  # steps
BLUR = 10  # sides of a photo to one standard deviation of the blur
GREY = (124, 116, 104)  # ImageNet's mean: as good as nothing to the network
SMOOTH = 1.5  # cells: about what one cell of the last layer draws on around it

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 [B, S, S, 3] -> probabilities [B, C]


@dataclass(frozen=True)
class Gain:
    """How much better the maps do than another order: mean over the photos and its interval."""

    mean: float
    interval: Interval


@dataclass(frozen=True)
class Curves:
    """What removing (or adding) pixels in three orders does to the probability of the class.

    Each curve holds the mean probability after each step, each area its mean over the steps
    (trapezoids, 0 to 1). Gains are positive where the maps do better: after deletion less
    probability is left, after insertion more is there.
    """

    maps: tuple[float, ...]
    blob: tuple[float, ...]
    chance: tuple[float, ...]
    maps_area: float
    blob_area: float
    chance_area: float
    over_blob: Gain
    over_chance: Gain


@dataclass(frozen=True)
class Faithful:
    """Whether heat maps point at what matters, against a centred blob and a chance place.

    shares: of the pixels that are removed or added, one a step, from 0 to 1.
    passes: photos that went through the model for it.
    """

    photos: int
    passes: int
    shares: tuple[float, ...]
    deletion: Curves
    insertion: Curves

    def as_dict(self) -> dict:
        """All of it as plain numbers and lists, for JSON."""
        return asdict(self)


def faithful(
    predict: Predict,
    photos: np.ndarray,
    explanations: Sequence[Explanation],
    *,
    steps: int = 10,
    seed: int = 0,
) -> Faithful:
    """Deletion and insertion scores of heat maps, with paired bootstrap intervals.

    Source: Petsiuk et al., "RISE: randomized input sampling for explanation of black-box models",
    BMVC 2018. Maps are brought to the photo's size. Pixels turn grey, the hottest first (deletion),
    or are brought back into a blurred photo (insertion), and the probability of the explained
    class is followed. The same is done in the order of a blob in the middle of the photo, since
    that is where photographers put things, and with the same map moved by a random distance: as
    coherent, but in a place that chance has chosen. Each cell of a map draws on a field of several
    cells, so all maps are smoothed by `SMOOTH` cells first. Equal heat is ordered at random.

    It costs `len(photos) * (3 + 6 * (steps - 1))` forward passes.

    Args:
        predict: probabilities of a batch of photos.
        photos: uint8 [N, S, S, 3], at least 2.
        explanations: N, as `explain_all` gives them.
        steps: in how many steps all pixels go.
        seed: of chance and the bootstrap.

    Raises:
        InputError: fewer than two photos, or not between 2 and `MOST` steps.
    """
    if len(photos) < 2 or len(photos) != len(explanations) or not 2 <= steps <= MOST:
        raise InputError(
            f"at least two photos, a heat map of each, and 2 to {MOST} steps",
            f"{len(photos)} photos, {len(explanations)} heat maps, {steps} steps",
            "Pass more photos, or fewer steps.",
        )
    random = np.random.default_rng(seed)
    shares = np.linspace(0, 1, steps + 1)
    left = _follow(predict, photos, explanations, shares, random)
    deletion, insertion = (
        _curves(left[number], shares, better, seed) for number, better in enumerate((-1, 1))
    )
    passes = len(photos) * (3 + 6 * (steps - 1))
    return Faithful(len(photos), passes, tuple(shares.tolist()), deletion, insertion)


def _follow(
    predict: Predict,
    photos: np.ndarray,
    explanations: Sequence[Explanation],
    shares: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """float [2, 3, N, steps + 1]: the class's probability after each deletion and insertion."""
    size = photos.shape[1:3]
    left = np.empty((2, 3, len(photos), len(shares)))
    every = slice(None)

    def changed() -> Iterator[tuple[tuple, np.ndarray]]:
        grey = np.broadcast_to(np.array(GREY, np.uint8), photos.shape[1:])
        for number, (photo, explanation) in enumerate(zip(photos, explanations, strict=True)):
            blurred = _blur(photo)
            yield (0, every, number, 0), photo
            yield (0, every, number, -1), grey
            yield (1, every, number, 0), blurred
            for order, ranks in enumerate(_orders(explanation.evidence, size, random)):
                for step, share in enumerate(shares[1:-1], 1):
                    hottest = (ranks < round(share * ranks.size))[..., None]
                    yield (0, order, number, step), np.where(hottest, grey, photo)
                    yield (1, order, number, step), np.where(hottest, photo, blurred)

    total = len(photos) * (3 + 6 * (len(shares) - 2))
    with progress(None, "deletion, insertion", total=total) as bar:
        for places, batch in _batches(changed()):
            found = predict(batch)
            for place, row in zip(places, found, strict=True):
                left[place] = row[explanations[place[2]].label]
            bar.update(len(batch))
    left[1, ..., -1] = left[0, ..., 0]
    return left


def _orders(
    evidence: np.ndarray, size: tuple[int, int], random: np.random.Generator
) -> Iterator[np.ndarray]:
    """int [H, W] each, 0 for the pixel that goes first: by the map, a blob and a moved map."""
    moved = divmod(int(random.integers(1, max(evidence.size, 2))), evidence.shape[1])
    for importance in (_full(evidence, size), _blob(size)):
        yield _ranks(importance, random)
    yield _ranks(_full(np.roll(evidence, moved, (0, 1)), size), random)


def _full(evidence: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float32 [H, W]: a map [h, w], smoothed, in the photo's size."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(np.asarray(evidence, np.float32), SMOOTH, mode="nearest")
    wide = Image.fromarray(smooth).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(wide)


def _batches(items: Iterator[tuple[tuple, np.ndarray]]) -> Iterator[tuple[list, np.ndarray]]:
    places, photos = [], []
    for place, photo in items:
        places.append(place)
        photos.append(photo)
        if len(photos) == BATCH:
            yield places, np.stack(photos)
            places, photos = [], []
    if photos:
        yield places, np.stack(photos)


def _curves(left: np.ndarray, shares: np.ndarray, better: int, seed: int) -> Curves:
    """Curves and areas of three orders, from float [3, N, steps + 1]."""
    areas = np.trapezoid(left, shares, axis=-1)  # [3, N]
    gains = []
    for other in areas[1:]:
        gain = better * (areas[0] - other)
        gains.append(Gain(float(gain.mean()), bootstrap(np.mean, gain, seed=seed)))
    curves = [tuple(curve) for curve in left.mean(1).tolist()]
    return Curves(*curves, *areas.mean(1).tolist(), *gains)


def _ranks(importance: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """int [H, W]: 0 for the most important pixel; ties are broken at random."""
    flat = importance.ravel()
    order = np.lexsort((random.random(flat.shape), -flat))
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(flat))
    return ranks.reshape(importance.shape)


def _blob(side: Sequence[int]) -> np.ndarray:
    """float [h, w]: the nearer to the middle, the larger."""
    down, across = (np.linspace(-1, 1, length) for length in side)
    return -(down[:, None] ** 2 + across**2)


def _blur(photo: np.ndarray) -> np.ndarray:
    """The photo so blurred that its colours and little else are left."""
    radius = len(photo) / BLUR
    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(radius)))
