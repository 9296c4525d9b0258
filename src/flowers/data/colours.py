"""Brings what a photo may be stored as to 8-bit sRGB: grey, palettes, CMYK, 16 bits, profiles."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # as in `photos`: loaded where a photo is read
    from PIL import Image

_STRIP = 2_000_000  # px converted at a time, so that a large photo never exists twice
_SAME = 2  # grey levels: a profile that changes less is sRGB by another name


def to_rgb(image: Image.Image, size: int | None) -> Image.Image:
    """A decoded image as RGB; shrunk by a whole factor to no less than twice `size`.

    Shrinking and converting go strip by strip: a large photo with an alpha channel or a colour
    profile never exists a second time.
    """
    from PIL import Image

    width, height = image.size
    across, down = (1, 1) if size is None else (max(1, n // (2 * size)) for n in image.size)
    if image.mode in ("I", "F"):
        image, across, down = _spread(image.reduce((across, down))), 1, 1
        width, height = image.size
    profile = _profile(image)
    plain = image.mode == "RGB" and not profile and not image.has_transparency_data
    rows = max(1, _STRIP // (width * down)) * down
    if plain or height <= rows:
        rgb = image if plain else _convert(image, profile)
        return rgb.reduce((across, down)) if max(across, down) > 1 else rgb
    canvas = Image.new("RGB", (-(-width // across), -(-height // down)))
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        canvas.paste(_convert(strip, profile).reduce((across, down)), (0, top // down))
    return canvas


def _convert(image: Image.Image, profile: tuple[str, Any] | None) -> Image.Image:
    """One strip in any 8- or 16-bit mode as opaque sRGB; transparency shows white."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        import numpy as np

        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), colours)
        image = image.convert("RGB")
    if profile is None:
        return image.convert("RGB")
    from PIL import ImageCms

    mode, transform = profile
    return ImageCms.applyTransform(image.convert(mode), transform)


def _spread(image: Image.Image) -> Image.Image:
    """Integer or float samples as 8-bit grey: 0-1, 0-255 and 0-65,535 keep their meaning."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65_535:  # no usual scale: the whole range, from black to white
        values, top = values - low, max(high - low, 1e-12)
    else:
        top = 1 if image.mode == "F" and high <= 1 else 255 if high <= 255 else 65_535
    return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8))


def _profile(image: Image.Image) -> tuple[str, Any] | None:
    """The mode to convert to and the transform to sRGB of the embedded colour profile, if any.

    A damaged profile, or one for other channels than the photo has, is ignored, as browsers do.
    """
    content = image.info.get("icc_profile")
    if not content:
        return None
    try:
        from PIL import ImageCms

        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[profile.profile.xcolor_space.strip()]
        grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")
        if (mode == "CMYK") != (image.mode == "CMYK") or (mode == "L" and not grey):
            return None
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(profile, srgb, mode, "RGB", intent)
        return None if _changes_nothing(transform, mode) else (mode, transform)
    except Exception:
        return None


def _changes_nothing(transform: Any, mode: str) -> bool:
    """Whether a transform leaves colours as they are, tried on a grid of them."""
    from PIL import Image, ImageChops, ImageCms

    if mode == "CMYK":
        return False
    levels = range(0, 256, 51)
    probe = Image.new("RGB", (6, 36))
    probe.putdata([(r, g, b) for r in levels for g in levels for b in levels])
    probe = probe.convert(mode)
    before, after = probe.convert("RGB"), ImageCms.applyTransform(probe, transform)
    return max(high for _, high in ImageChops.difference(before, after).getextrema()) <= _SAME
