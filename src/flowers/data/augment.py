"""Seeded variations of photos: the same flower, seen a little differently."""

from __future__ import annotations

import numpy as np
from PIL import Image

PADDING = 4  # px, He et al.'s on photos of 32 px
_TURN = 15.0  # degrees, at most
_AREA = 0.30  # of the photo, cropped away at most
_ASPECT = 0.10  # relative change of width to height, at most
_BRIGHTNESS, _CONTRAST, _SATURATION = 0.20, 0.20, 0.25  # relative change, at most
_HUE = 0.02  # of the colour circle, at most: a red rose stays red
_GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601
_YIQ = np.array([_GREY, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def augment(photos: np.ndarray, seeds: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Varies each photo: mirror, crop, aspect, small turn, light and colour.

    What happens to a photo depends on its seed alone, not on its place in the batch. Safe to call
    from several threads.

    Args:
        photos: uint8 [B, S, S, 3], RGB.
        seeds: int [B], non-negative.
        strength: scales every variation; 0 changes nothing, 1 is the usual amount.

    Returns:
        uint8 [B, S, S, 3].
    """
    return np.stack(
        [_vary(photo, int(seed), strength) for photo, seed in zip(photos, seeds, strict=True)]
    )


def shifted(photos: np.ndarray, seeds: np.ndarray, padding: int = PADDING) -> np.ndarray:
    """Shifts each photo by up to `padding` px and mirrors every second one.

    He et al. 2015, section 4.2: 4 px are padded on each side, and a crop of the old size is taken
    of the result or its mirror image. What is padded is mid-grey, the zero of the CIFAR networks.

    Args:
        photos: uint8 [B, S, S, 3].
        seeds: int [B], non-negative; what happens to a photo depends on its seed alone.
        padding: px on each side.

    Returns:
        uint8 [B, S, S, 3].
    """
    size = photos.shape[1]
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(photos, around, constant_values=128)
    out = np.empty_like(photos)
    for number, seed in enumerate(seeds):
        random = np.random.default_rng(int(seed))
        down, right, mirror = random.integers([2 * padding + 1, 2 * padding + 1, 2])
        crop = padded[number, down : down + size, right : right + size]
        out[number] = crop[:, ::-1] if mirror else crop
    return out


def _vary(photo: np.ndarray, seed: int, strength: float) -> np.ndarray:
    if strength == 0:
        return photo
    random = np.random.default_rng(seed)
    size = photo.shape[0]
    turn = np.deg2rad(strength * _TURN)
    # What a turned corner reaches outside is filled with the photo's own reflection.
    margin = int(size * (np.cos(turn) + np.sin(turn) - 1) / 2) + 2
    padded = np.pad(photo, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    moved = Image.fromarray(padded).transform(
        (size, size),
        Image.Transform.AFFINE,
        _affine(random, size, margin, strength),
        resample=Image.Resampling.BILINEAR,
    )
    mean = photo[::4, ::4].mean((0, 1))  # a sixteenth of the pixels tells it as well
    return np.asarray(moved.convert("RGB", _colour(random, mean, strength)))


def _affine(random: np.random.Generator, size: int, margin: int, strength: float) -> tuple:
    """Pillow's (a, b, c, d, e, f): where in the padded photo a pixel comes from."""
    mirror = -1 if random.random() < 0.5 else 1
    zoom = np.sqrt(1 - strength * _AREA * random.random())
    aspect = np.exp(strength * _ASPECT * random.uniform(-1, 1) / 2)
    wide, high = min(zoom * aspect, 1.0), min(zoom / aspect, 1.0)
    centre_x = 0.5 + (1 - wide) * random.uniform(-0.5, 0.5)
    centre_y = 0.5 + (1 - high) * random.uniform(-0.5, 0.5)
    angle = np.deg2rad(strength * _TURN * random.uniform(-1, 1))
    a, b = mirror * wide * np.cos(angle), -high * np.sin(angle)
    d, e = mirror * wide * np.sin(angle), high * np.cos(angle)
    half = size / 2
    return (
        a,
        b,
        margin + centre_x * size - (a + b) * half,
        d,
        e,
        margin + centre_y * size - (d + e) * half,
    )


def _colour(random: np.random.Generator, mean: np.ndarray, strength: float) -> tuple:
    """Pillow's 3 x 4 matrix: brightness, contrast around the mean grey, saturation, hue."""
    change = 1 + strength * random.uniform(-1, 1, 3) * (_BRIGHTNESS, _CONTRAST, _SATURATION)
    brightness, contrast, saturation = change
    angle = 2 * np.pi * strength * _HUE * random.uniform(-1, 1)
    turn = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    turn[1:] *= saturation  # the length of the two colour components
    matrix = np.linalg.inv(_YIQ) @ turn @ _YIQ * (brightness * contrast)
    offset = (1 - contrast) * brightness * float(_GREY @ mean)
    return tuple(np.column_stack([matrix, np.full(3, offset)]).ravel())
