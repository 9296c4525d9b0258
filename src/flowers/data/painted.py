"""Paints the five flowers: the sample set for when no photos can be downloaded.

A photo is a ground, one to five flowers of one species seen from above, tilted or from the side,
some of them out of focus or in a vase, and then what a camera does to them. It takes about 25 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter

from flowers.data.painting import grounds
from flowers.data.painting.canvas import Canvas, Light
from flowers.data.painting.plants import HABITS, Habit, leaves, stem, vase
from flowers.data.painting.surfaces import Surface, leaf_green, mix, unit
from flowers.errors import InputError

LABELS = ("daisy", "dandelion", "rose", "sunflower", "tulip")
EDITION = 1  # rises whenever a seed paints another picture than before

_FINENESS = 1.5  # cells of the sharp canvas along one pixel
_PITCHES = ((1.1, 1.5), (0.55, 0.95), (0.05, 0.35))  # radians of the camera: above, tilted, side
_NUMBERS = (0.52, 0.2, 0.14, 0.08, 0.06)  # shares of photos with 1 to 5 flowers
_RADII = ((0.38, 0.5), (0.28, 0.36), (0.23, 0.29), (0.2, 0.26), (0.19, 0.25))  # of the largest


# One photo -----------------------------------------------------------------------------------


def paint(label: str, seed: int, size: int = 224) -> np.ndarray:
    """Paints one photo; the same label and seed give the same scene at every size.

    Args:
        label: one of LABELS.
        seed: 0 or more.
        size: px of a side, 16 to 2048.

    Returns:
        uint8 [size, size, 3], RGB.

    Raises:
        InputError: the label is unknown, or a number is out of its range.
    """
    check(label, seed, size)
    rng = np.random.default_rng([LABELS.index(label), seed])
    view = _draw(rng, HABITS[label].views)
    potted = view == 2 and rng.random() < 0.3
    scene = _scene(rng, HABITS[label], view, potted)
    choice = (grounds.room,) if potted else grounds.LEVEL if view else grounds.ABOVE
    ground = choice[rng.integers(len(choice))]
    picture = ground(rng, size).astype(np.float32)
    centres, radii = _places(rng, view, potted)
    sharp, soft = Canvas(size, _FINENESS), Canvas(size, 1)
    deep = not potted and rng.random() < 0.5  # some of the flowers stand out of focus
    for i, (centre, radius) in enumerate(zip(centres, radii, strict=True)):
        away = deep and i > 0 and rng.random() < 0.6
        own = np.random.default_rng([scene.look, 0 if scene.alike else i])
        _plant(rng, soft if away else sharp, scene, centre, radius, own)
    if scene.mouth is not None:
        sharp.draw(vase(rng, scene.mouth), scene.light)
    haze, scale = rng.uniform(0.006, 0.022), float(radii.mean())
    if soft.used:
        layer = grounds.as_image(soft.layer(scale, scene.light.way))
        picture = _over(picture, grounds.blur(layer, haze))
    layer = sharp.layer(scale, scene.light.way)
    if ground in (grounds.grass, grounds.soil, grounds.wall, grounds.room):
        picture = picture * _cast(layer[..., 3], scene.light.way)
    return _photo(rng, _over(picture, layer))


def ground(seed: int, size: int = 224) -> np.ndarray:
    """Paints what may be behind flowers, and no flower: a lawn, soil, sky, a wall, a room.

    Args:
        seed: 0 or more.
        size: px of a side, 16 to 2048.

    Returns:
        uint8 [size, size, 3], RGB.

    Raises:
        InputError: a number is out of its range.
    """
    check(LABELS[0], seed, size)
    rng = np.random.default_rng([len(LABELS), seed])
    choice = (*dict.fromkeys(grounds.ABOVE + grounds.LEVEL), grounds.room)
    chosen = choice[rng.integers(len(choice))]
    return _photo(rng, chosen(rng, size).astype(np.float32))


def check(label: str, seed: int, size: int) -> None:
    """Refuses what cannot be painted.

    Raises:
        InputError: the label is unknown, or a number is out of its range.
    """
    if label not in LABELS:
        raise InputError(f"one of {', '.join(LABELS)}", repr(label), "Name one of these flowers.")
    if seed < 0:
        raise InputError("a seed of 0 or more", str(seed), "Name a whole number from 0 up.")
    if not 16 <= size <= 2048:
        raise InputError("a size of 16 to 2048 pixels", str(size), "Name a size between the two.")


def _draw(rng: np.random.Generator, shares: tuple[float, ...]) -> int:
    """An index, drawn with these probabilities."""
    return int(np.searchsorted(np.cumsum(shares)[:-1], rng.random()))


@dataclass(frozen=True)
class Scene:
    """What all flowers of one photo share, in camera space."""

    habit: Habit
    light: Light
    up: np.ndarray  # unit vector: where plants grow to
    mouth: np.ndarray | None  # of the vase, where there is one
    green: np.ndarray  # of the stems
    look: int  # seed of the looks of the flowers
    alike: bool  # all flowers have the same looks


def _scene(rng: np.random.Generator, habit: Habit, view: int, potted: bool) -> Scene:
    pitch, bright = rng.uniform(*_PITCHES[view]), rng.uniform(0.65, 1.1)
    way = unit([rng.uniform(-1, 1), rng.uniform(0.3, 1.0), rng.uniform(0.25, 1.0)])
    sun = mix(np.array((1.0, 0.97, 0.92)), np.array((1.04, 0.92, 0.76)), rng.random()) * bright
    sky = mix(np.array((0.9, 0.97, 1.06)), np.array((1.0, 0.98, 0.95)), rng.random())
    sky *= 1.08 - 0.62 * bright
    return Scene(
        habit,
        Light(*(array.astype(np.float32) for array in (way, sun, sky))),
        up=np.array([0, np.cos(pitch), np.sin(pitch)]),
        mouth=np.array([rng.uniform(-0.05, 0.05), -0.22, -0.05]) if potted else None,
        green=leaf_green(rng),
        look=int(rng.integers(2**31)),
        alike=rng.random() < 0.75,
    )


def _places(rng: np.random.Generator, view: int, potted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Centres [N, 3] that keep apart, and radii [N]."""
    number = max(_draw(rng, _NUMBERS), int(potted)) + 1
    largest = rng.uniform(*_RADII[number - 1])
    radii = np.append(largest, largest * rng.uniform(0.6, 1.0, number - 1))
    centres = np.empty((0, 2))
    for i, radius in enumerate(radii):
        tries = rng.uniform(-0.5, 0.5, (24, 2)) * (1.04 - 1.5 * radius)
        if i:
            gaps = np.linalg.norm(tries[:, None] - centres, axis=-1) - radii[:i] - radius
            tries = tries[np.argmax(np.minimum(gaps.min(1), 0.02))][None]
        centres = np.append(centres, tries[:1], axis=0)
    if potted:
        centres, radii = centres * [1, 0.45] + [0, 0.17], np.minimum(radii, 0.2)
    elif number == 1:
        centres = centres * 0.35 + [0, 0.12 * (view == 2)]
    return np.column_stack([centres, 0.25 - 0.1 * np.arange(number)]), radii


def _plant(
    rng: np.random.Generator,
    canvas: Canvas,
    scene: Scene,
    centre: np.ndarray,
    radius: float,
    own: np.random.Generator,
) -> None:
    """Draws a flower, its stem and leaves; `own` decides its looks, `rng` how it stands."""
    habit, up = scene.habit, scene.up
    lean = rng.uniform(-0.5, 0.5, 3) * [0.7, 0.28, 0.5]
    lean[2] += 0.25 * habit.nods
    if scene.mouth is not None:
        lean += np.array([centre[0], 0.2, 0.1])
    axis, spin = unit(up + lean), rng.uniform(0, 2 * np.pi)
    for surface in habit.head(own):
        if not (surface.under and axis[2] > 0.5):
            canvas.draw(_placed(surface, axis, spin, radius, centre), scene.light)
    start, sway = centre - axis * radius * habit.low, rng.uniform(-0.17, 0.17)
    if scene.mouth is None:
        end = start + np.array([sway, -1.4, -0.4])
        node = start - up * radius * habit.node
    else:
        end = scene.mouth + np.array([0.1 * sway, -0.1, 0])
        node = mix(start, end, 0.75)
    if up[2] < 0.85:  # from above the head hides it
        curve = np.stack([start, start - axis * 0.3, end])
        canvas.draw(stem(curve, habit.stem * radius, scene.green), scene.light)
    if rng.random() < 0.85:
        canvas.draw(_placed(leaves(own, habit), up, spin, radius, node), scene.light)


def _placed(
    surface: Surface, axis: np.ndarray, spin: float, scale: float, centre: np.ndarray
) -> Surface:
    """From a flower's own space into camera space."""
    side = unit(np.cross([0.12, 0.0, 1.0] if abs(axis[2]) < 0.9 else [0.0, 1.0, 0.1], axis))
    other = np.cross(axis, side)
    cosine, sine = np.cos(spin), np.sin(spin)
    rows = np.stack([side * cosine + other * sine, other * cosine - side * sine, axis])
    xyz = surface.xyz.reshape(-1, 3) @ (rows * scale) + centre
    return replace(surface, xyz=xyz.reshape(surface.xyz.shape).astype(np.float32))


def _over(picture: np.ndarray, layer: np.ndarray) -> np.ndarray:
    return picture * (1 - layer[..., 3:] / 255) + layer[..., :3]


def _cast(alpha: np.ndarray, way: np.ndarray) -> np.ndarray:
    """The light that a flower leaves on the ground behind it: [size, size, 1], 0.5 to 1."""
    size = len(alpha)
    dx, dy = -0.1 * size * way[0], 0.09 * size * way[1]
    shadow = grounds.as_image(alpha)
    shadow = shadow.transform(shadow.size, Image.AFFINE, (1, 0, -dx, 0, 1, -dy))
    return 1 - grounds.blur(shadow, 0.03)[..., None] / 510


def _photo(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """What a camera does to a scene: colour balance, exposure, vignette, tone, noise, blur."""
    size, rich = len(picture), rng.uniform(0.95, 1.35)
    grade = np.full((3, 3), (1 - rich) / 3) + np.eye(3) * rich
    grade *= rng.uniform(0.95, 1.05, 3) * rng.uniform(0.95, 1.25)
    picture = picture.reshape(-1, 3) @ grade.astype(np.float32)
    picture = picture.reshape(size, size, 3)
    x = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    picture *= (1 - rng.uniform(0, 0.2) * (x[None] + x[:, None]))[..., None]
    level = np.arange(1024) / 510
    curve = np.minimum(level, 0.75) + 0.25 * np.tanh(np.maximum(level - 0.75, 0) / 0.32)
    curve = (255 * curve ** rng.uniform(0.75, 1.0)).astype(np.float32)
    picture = curve[np.clip(picture * 2, 0, 1023).astype(np.int16)]
    rough, shaken, blurred = rng.uniform(0, 14), rng.random(), rng.uniform(0, 0.005)
    # Drawn last, since how much is drawn depends on the size.
    picture += rough * (rng.random((size, size, 1), dtype=np.float32) - 0.5)
    image = grounds.as_image(picture)
    if shaken < 0.1:
        moved = image.copy()
        moved.paste(image, (round(0.008 * size), round(0.004 * size)))
        image = Image.blend(image, moved, 0.5)
    elif shaken < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(blurred * size))
    return np.asarray(image)
