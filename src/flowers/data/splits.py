"""Train, validation, test and folds: seeded, stratified, and no group of look-alikes straddles."""

from __future__ import annotations

import hashlib

import numpy as np

from flowers.config import SplitShares

SHARES = SplitShares()
SPLITS = ("train", "validation", "test")


def split(
    labels: np.ndarray,
    groups: np.ndarray,
    digests: np.ndarray,
    seed: int = 0,
    shares: SplitShares = SHARES,
) -> np.ndarray:
    """The split of each photo: str [N], "train", "validation" or "test"."""
    names = np.array(SPLITS, dtype=object)
    return names[_deal(labels, groups, digests, seed, (shares.train, shares.validation))]


def folds(
    labels: np.ndarray, groups: np.ndarray, digests: np.ndarray, k: int, seed: int = 0
) -> np.ndarray:
    """The fold of each photo: int64 [N], 0 to k - 1."""
    return _deal(labels, groups, digests, seed, (1 / k,) * (k - 1))


def _deal(labels, groups, digests, seed, shares) -> np.ndarray:
    """int64 [N]: the part of each photo.

    Each class's groups are put in the order of a hash of (seed, content), and that order is cut
    at the shares. So a photo that is added or removed moves the cuts by one photo, not the order.
    """
    parts = np.zeros(len(labels), dtype=np.int64)
    keys = np.array([hashlib.sha256(f"{seed}:{one}".encode()).hexdigest() for one in digests])
    for label in sorted(set(labels)):
        rows = np.flatnonzero(labels == label)
        first: dict[int, str] = {}
        for row in rows:
            first[groups[row]] = min(keys[row], first.get(groups[row], "g"))
        order = sorted(first, key=first.__getitem__)
        place = {group: position for position, group in enumerate(order)}
        places = np.array([place[group] for group in groups[rows]])
        sizes = np.bincount(places, minlength=len(order))
        parts[rows] = np.searchsorted(_cuts(sizes, shares), places, side="right")
    return parts


def _cuts(sizes: np.ndarray, shares: tuple[float, ...]) -> list[int]:
    """Where to cut a row of groups of these sizes, as close to the shares as whole groups allow.

    Every part gets a group, where there are enough.
    """
    reached = np.r_[0, np.cumsum(sizes)]
    parts, cuts = len(shares) + 1, []
    for number, share in enumerate(np.cumsum(shares), start=1):
        cut = int(np.argmin(np.abs(reached - share * reached[-1])))
        if len(sizes) >= parts:
            cut = min(max(cut, (cuts or [0])[-1] + 1), len(sizes) - (parts - number))
        cuts.append(cut)
    return cuts
