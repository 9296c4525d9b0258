"""Finds photos that are the same or look it.

Perceptual hashes propose pairs and a comparison of small grey pictures confirms them. The numbers
below were set by looking at pairs of three real sets (3,670 flowers, 1,237 hand signs, 50,000
CIFAR photos): copies, also recoloured and recompressed, correlate at 0.8 and above, bursts and
crops of one flower at 0.3 to 0.8, different flowers at 0.35 at most, and the same hand sign of two
people, each before a white wall, at up to 0.7.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

DISTANCE = 12  # bits of 64 in which the hashes of a proposed pair differ at most
LOOK_ALIKE = 0.5  # correlation from which two photos under one label share a group
SAME_PHOTO = 0.85  # correlation from which two labels of a pair contradict each other

_DETAIL = 1.5  # px of 64: coarser structure is what all photos of a flower share
_RIM = 4  # px of 64 at the border, where the filter sees its own reflection and not the photo
_SHIFT = 6  # px of 64 by which one picture may be moved against the other
_FAINT = 0.5  # grey levels: weaker detail is noise of the compression
_PARTNERS = 16  # photos that one is compared with in a band, so that a film is not quadratic
_BLOCK = 1_000_000  # hash pairs compared at a time: bounds the memory


@dataclass(frozen=True)
class Look:
    """What a photo looks like, in 4 kB."""

    hash: int  # ImageHash's 64-bit DCT hash: blind to colour, size and compression
    grey: np.ndarray  # uint8 [64, 64]
    digest: str  # equal for photos of equal pixels, whatever their files hold besides


def look(thumbnail: np.ndarray) -> Look:
    """The look of a photo by its thumbnail, uint8 [64, 64, 3], RGB."""
    grey = Image.fromarray(thumbnail).convert("L")
    bits = np.packbits(imagehash.phash(grey).hash.ravel()).tobytes()
    return Look(
        hash=int.from_bytes(bits, "big"),
        grey=np.asarray(grey),
        digest=hashlib.sha256(thumbnail.tobytes()).hexdigest(),
    )


def equal_pairs(keys: Sequence[object]) -> np.ndarray:
    """int64 [P, 2]: each later photo with the first one of the same key."""
    first: dict[object, int] = {}
    pairs = [(first.setdefault(key, index), index) for index, key in enumerate(keys)]
    return np.array([pair for pair in pairs if pair[0] < pair[1]], dtype=np.int64).reshape(-1, 2)


def near_pairs(looks: Sequence[Look], distance: int = DISTANCE) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of photos that may look alike, and how much they do.

    Args:
        looks: N photos.
        distance: bits of 64 in which the hashes of a pair differ at most.

    Returns:
        int64 [P, 2], indices i < j, sorted; and float32 [P], the correlation of their fine detail
        in -1 to 1, at the best shift by up to a tenth of the side.
    """
    hashes = np.array([one.hash for one in looks], dtype=np.uint64)
    found = [np.empty((0, 2), dtype=np.int64), *_proposed(hashes, distance)]
    pairs = np.unique(np.concatenate(found), axis=0)
    likeness = [_likeness(looks, pairs[top : top + 512]) for top in range(0, len(pairs), 512)]
    return pairs, np.concatenate([np.empty(0, dtype=np.float32), *likeness])


def groups(count: int, pairs: np.ndarray) -> np.ndarray:
    """Connected components of `count` photos: int64 [count], numbered by first appearance."""
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _proposed(hashes: np.ndarray, distance: int) -> Iterator[np.ndarray]:
    """Yields int64 [P, 2] of pairs i < j that differ in at most `distance` bits.

    Only photos that agree in a whole row or column of the 8 x 8 bits are compared (multi-index
    hashing, Norouzi et al. 2012): all pairs within 7 bits, 97 % of those at 12, at a sixteenth of
    the comparisons.
    """
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8)).reshape(-1, 8, 8)
    for square in (bits, bits.transpose(0, 2, 1)):
        for band in np.packbits(square, axis=2)[:, :, 0].T:
            order = np.argsort(band, kind="stable")
            starts = np.flatnonzero(np.r_[True, np.diff(band[order]) != 0, True])
            for low, high in itertools.pairwise(starts):
                yield from _within(hashes, order[low:high], distance)


def _within(hashes: np.ndarray, members: np.ndarray, distance: int) -> Iterator[np.ndarray]:
    """Yields the close pairs among `members`, ascending indices; the closest of each photo."""
    rows = max(1, _BLOCK // max(1, len(members)))
    for top in range(0, len(members), rows):
        left = members[top : top + rows]
        differ = np.bitwise_count(hashes[left, None] ^ hashes[None, members[top:]])
        i, j = np.nonzero(differ <= distance)
        i, j = i[i < j], j[i < j]
        order = np.lexsort((differ[i, j], i))
        i, j = i[order], j[order]
        kept = np.arange(len(i)) - np.searchsorted(i, i) < _PARTNERS
        yield np.stack([left[i[kept]], members[top + j[kept]]], axis=1)


def _likeness(looks: Sequence[Look], pairs: np.ndarray) -> np.ndarray:
    """float32 [P]: the largest normalised cross-correlation of the two pictures' detail."""
    picked, places = np.unique(pairs, return_inverse=True)
    grey = np.stack([looks[index].grey for index in picked]).astype(np.float32)
    detail = grey - gaussian_filter(grey, (0, _DETAIL, _DETAIL))
    detail = detail[:, _RIM:-_RIM, _RIM:-_RIM]
    length = np.sqrt((detail**2).sum((1, 2), keepdims=True))
    detail /= np.maximum(length, _FAINT * detail.shape[1])
    spectra = np.fft.rfft2(detail)
    left, right = places.reshape(-1, 2).T
    correlation = np.fft.irfft2(spectra[left] * np.conj(spectra[right]), s=detail.shape[1:])
    near = np.roll(correlation, (_SHIFT, _SHIFT), (1, 2))[:, : 2 * _SHIFT + 1, : 2 * _SHIFT + 1]
    return near.reshape(len(pairs), -1).max(axis=1).astype(np.float32)
