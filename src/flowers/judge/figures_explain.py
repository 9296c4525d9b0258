"""Drawings of heat maps and of similar photos. Takes arrays, returns a Figure; measures nothing.

In an overlay the photo is grey and every colour is heat, so that a red flower is not taken for a
hot place. The colours are inferno: its lightness rises evenly, so it reads the same with any
colour vision and in print. Each map is scaled to its own hottest place: colours compare places
within one photo, never two photos.
"""

from __future__ import annotations

import matplotlib
import numpy as np
from PIL import Image

STRENGTH = 0.65  # share of the heat's colour in its hottest place


def overlay(photo: np.ndarray, heat: np.ndarray, strength: float = STRENGTH) -> np.ndarray:
    """The photo in grey with its heat in colour: uint8 [H, W, 3].

    Args:
        photo: uint8 [H, W, 3], RGB.
        heat: float [h, w], at least 0; scaled to its own maximum. All zero leaves plain grey.
        strength: 0 to 1, how much of the hottest place is colour and not photo.
    """
    height, width = photo.shape[:2]
    top = float(heat.max())
    scaled = np.asarray(heat, np.float32) / top if top > 0 else np.zeros(heat.shape, np.float32)
    smooth = Image.fromarray(scaled).resize((width, height), Image.Resampling.BICUBIC)
    level = np.clip(np.asarray(smooth), 0, 1)
    grey = np.asarray(Image.fromarray(photo).convert("L"), np.float32)[..., None] / 255
    colour = matplotlib.colormaps["inferno"](level)[..., :3]
    share = strength * np.sqrt(level)[..., None]
    return np.round(255 * ((1 - share) * grey + share * colour)).astype(np.uint8)
