"""What is behind the flowers: RGB float32 [size, size, 3], 0-255.

The same seed gives the same ground at every size.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from flowers.data.painting.surfaces import between, mix

_LEAFY = ((30, 52, 22), (58, 88, 36), (96, 124, 60), (150, 170, 90), (44, 70, 52), (84, 92, 44))
MUTED = (
    (90, 70, 50), (150, 130, 104), (70, 84, 100), (120, 80, 90), (190, 176, 150), (50, 44, 48),
    (232, 228, 220),
)  # fmt: skip
PETALS = (
    (230, 60, 70), (250, 210, 60), (240, 240, 240), (220, 130, 190), (250, 150, 60), (130, 80, 170),
)  # fmt: skip


def _noise(rng, cells: int, size: int) -> np.ndarray:
    """Smooth noise in 0-1, [size, size], from cells x cells random numbers."""
    grid = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.clip(np.asarray(grid.resize((size, size), Image.BICUBIC)), 0, 1)


def as_image(picture: np.ndarray) -> Image.Image:
    """An array of 0-255 as an 8-bit image; four channels are premultiplied colours and alpha."""
    levels = np.clip(picture, 0, 255).astype(np.uint8)
    if levels.shape[2:] == (4,):
        return Image.frombytes("RGBa", levels.shape[1::-1], levels.tobytes())
    return Image.fromarray(levels)


def blur(picture, width: float) -> np.ndarray:
    """Blurs by a Gaussian whose sigma is `width` picture widths."""
    image = picture if isinstance(picture, Image.Image) else as_image(picture)
    full, sigma = image.size, width * image.width
    if sigma > 2:  # what is that soft loses nothing at half the size
        image, sigma = image.reduce(2), sigma / 2
    image = image.filter(ImageFilter.GaussianBlur(sigma))
    return np.asarray(image.resize(full, Image.BILINEAR), np.float32)


def _spots(rng, picture, count, colours, smallest, largest, alpha) -> np.ndarray:
    """Discs, radius in picture widths: lights out of focus, pebbles, far flowers."""
    image = as_image(picture)
    draw, size = ImageDraw.Draw(image, "RGBA"), image.width
    for x, y, wide, strong in rng.random((count, 4)):
        radius = mix(smallest, largest, wide**2) * size
        fill = np.append(between(rng, colours), alpha * (0.3 + 0.7 * strong)).astype(int)
        box = (x * size - radius, y * size - radius, x * size + radius, y * size + radius)
        draw.ellipse(box, fill=tuple(fill.tolist()))
    return np.asarray(image)


def bokeh(rng, size: int) -> np.ndarray:
    """Foliage, or something indoors, far out of focus."""
    tones = _LEAFY if rng.random() < 0.75 else MUTED
    share = _noise(rng, 4, size)[..., None]
    picture = mix(between(rng, tones), between(rng, tones), share) * rng.uniform(0.8, 1.4)
    picture = picture * (0.7 + 0.6 * _noise(rng, 7, size)[..., None])
    lights = [np.minimum(255, np.array(tone) * 1.7 + 30) for tone in tones]
    picture = _spots(rng, picture, int(rng.integers(8, 34)), lights, 0.015, 0.085, 120)
    if rng.random() < 0.35:
        picture = _spots(rng, picture, int(rng.integers(3, 10)), PETALS, 0.02, 0.07, 170)
    return blur(picture, rng.uniform(0.006, 0.026))


def grass(rng, size: int) -> np.ndarray:
    """A lawn, from blurred to sharp."""
    base = between(rng, _LEAFY) * 0.6
    image = as_image(base * (0.6 + 0.8 * _noise(rng, 9, size)[..., None]))
    draw, count, lean = ImageDraw.Draw(image), 260, rng.uniform(-0.25, 0.25)
    tones = [between(rng, _LEAFY) for _ in range(12)]
    for i, (x, y, angle, tall, shade, wide) in enumerate(rng.random((count, 6))):
        turn, tall = np.pi * (0.25 + lean + 0.5 * angle), (0.1 + 0.2 * tall) * size
        dx, dy, w = np.cos(turn) * tall, -np.sin(turn) * tall, (0.005 + 0.008 * wide) * size
        x, y, bend = x * size, (i / count * 1.25 + 0.1 * y) * size, 0.3 * (wide - 0.5) * tall
        tone = np.clip(tones[i % 12] * (0.62 + 0.3 * i / count + 0.3 * shade), 0, 255)
        middle = (x + 0.5 * dx, y + 0.55 * dy)
        blade = (
            x - w, y, x + w, y, middle[0] + 0.7 * w, middle[1],
            x + 1.3 * dx + bend, y + dy, middle[0] - 0.7 * w, middle[1],
        )  # fmt: skip
        draw.polygon(blade, fill=tuple(tone.astype(int).tolist()))
    return blur(image, 0.002 + 0.014 * rng.random() ** 1.5)


def soil(rng, size: int) -> np.ndarray:
    """Bare earth with pebbles."""
    base = mix(np.array((58.0, 42, 30)), np.array((150.0, 118, 88)), rng.random())
    rough = 0.5 * _noise(rng, 8, size) + 0.35 * _noise(rng, 26, size) + 0.4 * _noise(rng, 80, size)
    stones = [base * rng.uniform(0.6, 1.6) for _ in range(5)]
    picture = base * (0.35 + 1.05 * rough)[..., None]
    picture = _spots(rng, picture, int(rng.integers(20, 90)), stones, 0.006, 0.035, 230)
    return blur(picture, rng.uniform(0.002, 0.012))


def sky(rng, size: int) -> np.ndarray:
    """Blue to grey, with clouds."""
    top = mix(np.array((40.0, 96, 180)), np.array((150.0, 170, 190)), rng.random())
    low = mix(np.array((170.0, 206, 236)), np.array((240.0, 226, 206)), rng.random())
    picture = mix(top, low, np.linspace(0, 1, size)[:, None, None])
    cloud = 0.6 * _noise(rng, 4, size) + 0.3 * _noise(rng, 9, size) + 0.14 * _noise(rng, 22, size)
    cover = np.clip((cloud - rng.uniform(0.32, 0.72)) * 3.2, 0, 0.9)[..., None]
    return mix(picture, 250 * rng.uniform(0.85, 1.0), cover).astype(np.float32)


def meadow(rng, size: int) -> np.ndarray:
    """A field up to the horizon."""
    down = np.linspace(0, 1, size)[:, None]
    hills = rng.uniform(0.25, 0.65) + 0.12 * (_noise(rng, 5, size)[:1] - 0.5)
    field = mix(between(rng, _LEAFY) * 1.4, between(rng, _LEAFY) * 0.9, down[..., None])
    field = field * (0.7 + 0.6 * _noise(rng, 16, size)[..., None])
    if rng.random() < 0.6:
        field = _spots(rng, field, 50, [between(rng, PETALS), _LEAFY[3]], 0.008, 0.03, 190)
    edge = np.clip((down - hills) * 14 + 0.5, 0, 1)[..., None]
    return blur(mix(sky(rng, size), field, edge), rng.uniform(0.008, 0.02))


def wall(rng, size: int) -> np.ndarray:
    """Plaster, boards or bricks."""
    tone = between(rng, MUTED) * rng.uniform(0.7, 1.6)
    plaster = 0.86 + 0.18 * _noise(rng, 60, size) + 0.14 * _noise(rng, 6, size)
    image = as_image(tone * plaster[..., None])
    bricks, rows = int(rng.integers(3)) - 1, int(rng.integers(5, 12))
    line = np.clip(tone * (0.6 if rng.random() < 0.6 else 1.2), 0, 255).astype(int)
    pen = {"fill": tuple(line.tolist()), "width": max(1, round(size * 0.006))}
    draw = ImageDraw.Draw(image)
    for row in range(rows if bricks >= 0 else 0):  # -1 plaster, 0 boards, 1 bricks
        y = row * size / rows
        draw.line((0, y, size, y), **pen)
        for brick in range(6 * bricks):
            x = (brick + 0.5 * (row % 2)) * size / 5
            draw.line((x, y, x, y + size / rows), **pen)
    if rng.random() < 0.5:
        image = image.transpose(Image.ROTATE_90)
    glare = mix(0.75, 1.2, _noise(rng, 3, size))
    return blur(image, rng.uniform(0.003, 0.015)) * glare[..., None]


def studio(rng, size: int) -> np.ndarray:
    """A cloth under one lamp."""
    x, (left, top) = np.linspace(-1, 1, size, dtype=np.float32), rng.uniform(-0.5, 0.5, 2)
    spot = np.exp(-((x[None] - left) ** 2) - (x[:, None] - top) ** 2)[..., None]
    return between(rng, MUTED) * rng.uniform(0.3, 1.0) * (0.35 + spot)


def room(rng, size: int) -> np.ndarray:
    """A table's edge before a wall or a window."""
    back = wall(rng, size) if rng.random() < 0.6 else bokeh(rng, size)
    tone = mix(between(rng, MUTED), np.array((170.0, 120, 76)), rng.random())
    board = 0.75 + 0.35 * _noise(rng, 5, size) + 0.2 * _noise(rng, 40, size)[:, :1]
    edge = np.clip((np.linspace(0, 1, size) - rng.uniform(0.72, 0.82)) * 67, 0, 1)
    return mix(back, tone * board[..., None], edge[:, None, None])


ABOVE = (bokeh, grass, grass, soil, soil, wall, studio)
LEVEL = (bokeh, bokeh, sky, meadow, meadow, wall, studio, grass)
