"""How far chance alone could move a figure: Wilson's interval, and the bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from flowers.errors import InputError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A range that holds the true value with the confidence asked for."""

    low: float
    high: float


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """The score interval of a share: honest for few trials and for shares near 0 and 1.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22, 1927. With no trials it is 0 to 1.

    Raises:
        InputError: not 0 <= successes <= trials, or confidence not between 0 and 1.
    """
    if not 0 <= successes <= trials or not 0 < confidence < 1:
        raise InputError(
            "0 <= successes <= trials and a confidence between 0 and 1",
            f"{successes} of {trials} at {confidence}",
            "Count again.",
        )
    if trials == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, scale = successes / trials, 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / scale
    half = z / scale * (share * (1 - share) / trials + z**2 / (4 * trials**2)) ** 0.5
    low = 0.0 if successes == 0 else centre - half  # exact at the ends, where rounding is not
    high = 1.0 if successes == trials else centre + half
    return Interval(low, high)


def bootstrap(
    statistic: Callable[..., float],
    *arrays: np.ndarray,
    seed: int,
    repeats: int = 1000,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The percentile interval of a statistic over photos drawn again with replacement.

    Source: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7,
    1979. Draws on which the statistic is not finite (a class was not drawn) are left out.

    Args:
        statistic: takes the arrays, each redrawn in the same way, and returns a number.
        arrays: of equal length, one row a photo.
        seed: of the draws; the same seed gives the same interval.
        repeats: how many times to draw.
        confidence: share of the draws that lie inside the interval.

    Raises:
        InputError: no arrays, arrays of different length, or a statistic that is not finite on
            half of the draws.
    """
    values = redraw(statistic, arrays, seed, repeats)
    values = values[np.isfinite(values)]
    if len(values) * 2 < repeats:
        raise InputError(
            "a statistic that is a number on most draws",
            f"{len(values)} of {repeats}",
            "Measure on more photos, so that every class is drawn.",
        )
    return percentiles(values, confidence)


def redraw(
    statistic: Callable, arrays: Sequence[np.ndarray], seed: int, repeats: int
) -> np.ndarray:
    """A statistic of photos drawn again with replacement: float [repeats, ...].

    Takes and raises what `bootstrap` does, but the statistic may be an array.
    """
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError(
            "arrays of one length, at least 1",
            f"lengths {sorted(lengths)}",
            "Pass one row a photo in each.",
        )
    random, length = np.random.default_rng(seed), lengths.pop()
    draws = (random.integers(0, length, length) for _ in range(repeats))
    return np.array([statistic(*(array[draw] for array in arrays)) for draw in draws])


def percentiles(values: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """The range that holds `confidence` of drawn values, float [repeats]; NaN is left out."""
    outside = (1 - confidence) / 2
    low, high = np.nanquantile(values, [outside, 1 - outside])
    return Interval(float(low), float(high))
