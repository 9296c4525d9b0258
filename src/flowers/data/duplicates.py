"""Finds photos that are the same or look it."""

from __future__ import annotations

import itertools

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

DISTANCE = 10  # differing bits of 64, up to which two photos are compared
CORRELATION = 0.97  # of the thumbnails, from which two photos look alike
_BAND = 8  # bits: two hashes that differ in at most 7 places agree in one of eight bands
_PAIRS = 1_000_000  # compared at a time: bounds the memory


def perceptual_hash(thumbnail: np.ndarray) -> int:
    """ImageHash's 64-bit DCT hash of a photo's thumbnail, uint8 [32, 32, 3]."""
    bits = imagehash.phash(Image.fromarray(thumbnail)).hash.ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_pairs(
    thumbnails: np.ndarray, distance: int = DISTANCE, correlation: float = CORRELATION
) -> np.ndarray:
    """Pairs of photos that look alike.

    Perceptual hashes propose pairs, the thumbnails confirm them, so that false pairs are rare.

    Args:
        thumbnails: uint8 [N, 32, 32, 3].
        distance: bits by which two hashes may differ.
        correlation: of the two thumbnails, at least.

    Returns:
        int64 [P, 2], indices i < j, sorted.
    """
    hashes = np.array([perceptual_hash(one) for one in thumbnails], dtype=np.uint64)
    vectors = _standardised(thumbnails)
    found = [np.empty((0, 2), dtype=np.int64)]
    for pairs in _candidates(hashes, distance):
        alike = np.einsum("ij,ij->i", vectors[pairs[:, 0]], vectors[pairs[:, 1]]) >= correlation
        found.append(pairs[alike])
    return np.unique(np.concatenate(found), axis=0)


def groups(count: int, pairs: np.ndarray) -> np.ndarray:
    """Connected components: int64 [count], numbered by first appearance."""
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def same_pairs(keys: list) -> np.ndarray:
    """Chains of equal keys: int64 [P, 2], each later photo with the first of its key."""
    first: dict = {}
    pairs = [(first.setdefault(key, index), index) for index, key in enumerate(keys)]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)


def _candidates(hashes: np.ndarray, distance: int):
    """Yields int64 [P, 2] of pairs i < j that differ in at most `distance` bits.

    Only photos that agree in one of the eight bands of their hashes are compared (multi-index
    hashing, Norouzi et al. 2012).
    """
    bands = hashes[:, None].view(np.uint8).reshape(len(hashes), -1)
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(band[order]) != 0, True])
        for low, high in itertools.pairwise(starts):
            members = order[low:high]
            rows = max(1, _PAIRS // max(1, len(members)))
            for top in range(0, len(members), rows):
                left = members[top : top + rows]
                differ = np.bitwise_count(hashes[left, None] ^ hashes[None, members])
                i, j = np.nonzero(differ <= distance)
                pairs = np.stack([left[i], members[j]], axis=1)
                pairs = pairs[pairs[:, 0] < pairs[:, 1]]
                if len(pairs):
                    yield pairs


def _standardised(thumbnails: np.ndarray) -> np.ndarray:
    """float32 [N, 3072], zero mean and unit length, so that a dot product is a correlation."""
    vectors = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
