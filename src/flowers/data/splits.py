"""Train, validation, test and folds: seeded, stratified, and no group of look-alikes straddles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

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
    given: np.ndarray | None = None,
) -> np.ndarray:
    """The split of each photo: str [N], "train", "validation" or "test".

    Args:
        labels, groups, digests: [N] each; a group is never divided.
        seed: of the order in which groups are dealt.
        shares: of the photos, or photos a class; see `config.SplitShares`.
        given: str [N], the part that the set itself puts a photo in (see `given`): its training
            photos are divided into training and validation, unless it has validation photos too.
    """
    names = np.array(SPLITS, dtype=object)
    rest = shares.train / (shares.train + shares.validation)  # of what is not for the test
    if given is None:
        return names[_deal(labels, groups, digests, seed, lambda photos: _cut(shares, photos))]
    parts = np.array(given, dtype=object)
    if "validation" not in parts:
        own = parts == "train"
        columns = labels[own], groups[own], digests[own]
        parts[own] = names[_deal(*columns, seed, lambda photos: (rest,))]
    return parts


def given(paths: Sequence[str]) -> np.ndarray | None:
    """The split that a set comes with: str [N], where every photo lies below train/,
    validation/ or test/ in a class folder; None for other sets."""
    parts = [path.split("/") for path in paths]
    if not parts or any(len(part) < 3 or part[0] not in SPLITS for part in parts):
        return None
    return np.array([part[0] for part in parts], dtype=object)


def folds(
    labels: np.ndarray, groups: np.ndarray, digests: np.ndarray, k: int, seed: int = 0
) -> np.ndarray:
    """The fold of each photo: int64 [N], 0 to k - 1."""
    return _deal(labels, groups, digests, seed, lambda photos: (1 / k,) * (k - 1))


def _deal(
    labels: np.ndarray,
    groups: np.ndarray,
    digests: np.ndarray,
    seed: int,
    shares: Callable[[int], tuple[float, ...]],
) -> np.ndarray:
    """int64 [N]: the part of each photo.

    Each class's groups are put in the order of a hash of (seed, content), and that order is cut
    at the shares of its photos. So a photo that is added or removed moves the cuts by one photo,
    not the order. Groups of several classes, such as a person who shows all signs, are dealt
    together after the same manner.
    """
    parts = np.zeros(len(labels), dtype=np.int64)
    keys = np.array([hashlib.sha256(f"{seed}:{one}".encode()).hexdigest() for one in digests])
    strata = _strata(labels, groups)
    for stratum in sorted(set(strata)):
        rows = np.flatnonzero(strata == stratum)
        first: dict[int, str] = {}
        for row in rows:
            first[groups[row]] = min(keys[row], first.get(groups[row], "g"))
        order = sorted(first, key=first.__getitem__)
        place = {group: position for position, group in enumerate(order)}
        places = np.array([place[group] for group in groups[rows]])
        sizes = np.bincount(places, minlength=len(order))
        parts[rows] = np.searchsorted(_cuts(sizes, shares(len(rows))), places, side="right")
    return parts


def _strata(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """object [N]: the label, or "" where the photo's group has photos of several labels."""
    owners: dict[object, object] = {}
    for label, group in zip(labels, groups, strict=True):
        if owners.setdefault(group, label) != label:
            owners[group] = ""
    return np.array([owners[group] for group in groups], dtype=object)


def _cut(shares: SplitShares, photos: int) -> tuple[float, float]:
    """The shares of a class of so many photos that train and validate."""
    if shares.per_class is None or photos <= shares.per_class:
        return shares.train, shares.validation
    scale = shares.per_class / photos / (shares.train + shares.validation)
    return shares.train * scale, shares.validation * scale


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
