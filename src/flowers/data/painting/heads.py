"""The flower heads of the five species, each as a list of surfaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from flowers.data.painting.surfaces import (
    GOLDEN,
    Surface,
    blades,
    cap,
    colour,
    directions,
    florets,
    grid,
    inclines,
    joined,
    leaf_green,
    mix,
    stripes,
    tint,
)


def _flames(count: int, depth: float) -> Callable:
    """The fine lines of a tulip's petal, which run together towards its tip."""
    return lambda u, v: (
        0.96
        - depth * (0.5 + 0.5 * np.cos(np.pi * count * v * (1.05 - 0.35 * u)))
        - 0.04 * np.cos(np.pi * 2.7 * count * v)
        + 0.08 * np.exp(-((v / 0.05) ** 2)) * (1 - u)
    )


_DAISIES = (  # share, colour at the disc, colour at the tip
    (0.46, (255, 255, 252), (238, 240, 246)),
    (0.26, (255, 255, 250), (242, 238, 226)),
    (0.12, (255, 250, 252), (247, 196, 214)),
    (0.07, (250, 170, 200), (235, 106, 158)),
    (0.03, (255, 236, 130), (250, 214, 72)),
    (0.03, (222, 196, 240), (177, 137, 217)),
    (0.03, (255, 214, 178), (250, 165, 117)),
)
_ROSES = (  # share, colour in the depth, colour at the rim
    (0.44, (140, 4, 22), (214, 24, 44)),
    (0.24, (196, 40, 84), (248, 130, 166)),
    (0.14, (226, 130, 150), (255, 214, 222)),
    (0.05, (226, 214, 186), (255, 252, 244)),
    (0.05, (228, 160, 30), (255, 226, 110)),
    (0.05, (222, 90, 30), (255, 170, 96)),
    (0.03, (160, 96, 150), (220, 176, 220)),
)
_SUNFLOWERS = (  # share, colour at the disc, colour at the tip
    (0.50, (236, 150, 0), (255, 208, 20)),
    (0.33, (250, 180, 10), (255, 226, 60)),
    (0.06, (246, 214, 110), (255, 242, 180)),
    (0.05, (196, 70, 10), (250, 150, 20)),
    (0.03, (110, 22, 14), (190, 66, 24)),
    (0.03, (120, 26, 16), (246, 190, 50)),
)
_TULIPS = (  # share, colour at the base, in the middle, at the edge
    (0.16, (150, 10, 20), (206, 20, 30), (228, 50, 50)),
    (0.20, (250, 200, 200), (240, 110, 150), (252, 180, 200)),
    (0.10, (214, 226, 170), (250, 248, 238), (255, 255, 252)),
    (0.08, (240, 190, 30), (252, 214, 40), (255, 232, 110)),
    (0.12, (230, 140, 30), (240, 110, 30), (252, 170, 60)),
    (0.26, (60, 14, 70), (116, 40, 128), (156, 84, 168)),
    (0.04, (200, 20, 30), (214, 34, 30), (252, 206, 60)),
    (0.04, (250, 240, 230), (246, 230, 236), (214, 40, 110)),
)


def _choose(rng, palette) -> list[np.ndarray]:
    row = palette[int(np.searchsorted(np.cumsum([row[0] for row in palette])[:-1], rng.random()))]
    return [colour(*levels) for levels in row[1:]]


def daisy(rng) -> list[Surface]:
    """Two rings of strap-shaped rays around a small yellow disc."""
    pale, deep = _choose(rng, _DAISIES)
    disc, count = rng.uniform(0.25, 0.34), int(rng.integers(11, 19))
    rise, fall = rng.uniform(-0.1, 0.4), rng.uniform(-0.65, -0.15)
    wide = rng.uniform(1.55, 2.0) / count
    outline = ((0, 0.45), (0.15, 0.62), (0.5, 0.95), (0.75, 1), (1, 0.8))
    parts = []
    for ring in range(2):
        xyz = blades(
            directions(rng, count, 0.5, 0.5 * ring),
            (1 - 0.8 * disc) * (1 - 0.03 * ring) * rng.uniform(0.9, 1.04, count),
            wide * rng.uniform(0.9, 1.1, count),
            inclines(rng, count, rise - 0.12 * ring, fall - 0.1 * ring, jitter=0.14),
            outline, base=0.8 * disc, tip=0.16, cup=-0.5, twist=rng.uniform(-0.15, 0.15, count),
        )  # fmt: skip
        xyz[..., 2] -= 0.03 * ring
        parts.append(Surface(xyz, tint(rng, xyz, pale, deep, power=1.6), stripes(3, 0.12)))
    gold = mix(colour(250, 200, 20), colour(228, 140, 10), rng.random())
    dome = rng.uniform(0.08, 0.2)
    knots = ((0, mix(gold, colour(190, 200, 60), 0.45)), (0.45, gold), (1, gold * 1.05))
    return [
        joined(*parts),
        cap(disc, dome, gold * 0.6),
        florets(rng, 170, disc * 0.98, dome, disc * 0.085, knots),
        cap(disc * 1.05, -0.2, leaf_green(rng), lowered=0.05),
    ]


def dandelion(rng) -> list[Surface]:
    """A dense head of narrow yellow florets, or in two of five the seed clock."""
    if rng.random() < 0.35:
        return _clock(rng)
    count = int(rng.integers(210, 280))
    share = np.sqrt((np.arange(count) + 0.5) / count)
    gold = mix(colour(255, 228, 40), colour(252, 184, 14), rng.random())
    heart = mix(gold, colour(236, 140, 0), rng.uniform(0.3, 0.8))
    last = mix(1.2, -rng.uniform(0.05, 0.55), share**1.5)
    xyz = blades(
        GOLDEN * np.arange(count) + rng.uniform(0, 0.3, count),
        (0.5 + 0.54 * share**1.3) * rng.uniform(0.9, 1.08, count),
        0.04 * rng.uniform(0.8, 1.2, count),
        inclines(rng, count, mix(1.55, 0.5, share), last, along=8, jitter=0.12),
        ((0, 0.5), (0.5, 1), (0.9, 0.95), (1, 0.8)), base=0.04 * share, across=3, cup=0.6,
    )  # fmt: skip
    rgb = tint(rng, xyz, heart * 0.75, gold, power=0.8, jitter=0.12)
    rgb *= mix(0.9, 1.05, share)[:, None, None, None]
    green, bracts = leaf_green(rng), int(rng.integers(13, 19))
    cup = blades(
        directions(rng, bracts), np.full(bracts, 0.62), np.full(bracts, 0.11),
        inclines(rng, bracts, 0.45, 0.75), ((0, 0.6), (0.4, 1), (1, 0.05)), base=0.06,
    )  # fmt: skip
    cup[..., 2] -= 0.26
    return [
        Surface(xyz[:, 2:], rgb[:, 2:], stripes(1, 0.12)),  # the rest is hidden
        cap(0.6, 0.3, heart * 0.7),
        Surface(cup, tint(rng, cup, green, green * 0.8), under=True),
        cap(0.3, -0.3, green),
    ]


def _clock(rng) -> list[Surface]:
    """The dandelion's seed head: on a sphere, each seed with a stalk and a star of hairs."""
    count, hairs = int(rng.integers(90, 130)), 13
    up = 1 - 2 * (np.arange(count) + 0.5) / count
    angle = GOLDEN * np.arange(count) + rng.uniform(0, 0.4, count)
    flat = np.sqrt(1 - up**2)
    out = np.stack([flat * np.cos(angle), flat * np.sin(angle), up], -1)
    out += rng.uniform(-0.06, 0.06, (count, 3))
    blown = rng.uniform(0, 0.3) if rng.random() < 0.5 else 0.0
    out = out[rng.random(count) >= blown]
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    side = np.cross(out, [0.31, 0.52, 0.79])
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    turn = 2 * np.pi * (np.arange(hairs) + rng.random((len(out), hairs)))[..., None] / hairs
    star = np.cos(turn) * side[:, None] + np.sin(turn) * np.cross(out, side)[:, None]
    star *= rng.uniform(0.26, 0.32, (len(out), hairs, 1))
    hub = rng.uniform(0.63, 0.68, (len(out), 1, 1))
    far = out[:, None]
    hair = [far * hub + 0 * star, far * (hub + 0.17) + star * 0.5, far * (hub + 0.26) + star]
    hair = np.stack(hair, 2).reshape(-1, 3, 1, 3).repeat(2, axis=2)
    stalk = (np.linspace(0.2, 1, 3)[None, :, None] * (far * hub))[:, :, None].repeat(2, axis=2)
    stalk[:, :, 1] += 0.008
    seed = (np.array([0.12, 0.19, 0.27])[None, :, None] * far)[:, :, None]
    wide = (side * 0.022)[:, None, None] * np.array([0.6, 1, 0.1])[None, :, None, None]
    seed = np.concatenate([seed - wide, seed + wide], 2)
    white = mix(colour(255, 255, 255), colour(244, 234, 214), rng.random())
    brown = mix(colour(112, 84, 50), colour(164, 140, 92), rng.random())
    ball = cap(0.14, 0.1, brown * 1.1)
    return [
        Surface(hair, white * np.clip(1.15 + 0.4 * hair[..., 2:], 0.7, 1.5), glow=1.0, sheer=True),
        Surface(stalk, white * 0.75 + 0 * stalk, glow=0.8),
        Surface(seed, brown + 0 * seed),
        ball,
        replace(ball, xyz=ball.xyz * [1, 1, -1]),
    ]


def rose(rng) -> list[Surface]:
    """Petals wrapped around each other, the outer ones curled back."""
    deep, rim = _choose(rng, _ROSES)
    count, along, across = int(rng.integers(24, 34)), 13, 13
    share, opening = np.linspace(0, 1, count), rng.random()
    u = np.linspace(0, 1, along)
    first = mix(1.62, 1.0 - 0.45 * opening, share**0.9)[:, None]
    last = mix(1.62, 0.95 - 0.6 * opening, share)[:, None]
    curl = share**1.5 * (rng.uniform(0.7, 1.2, count) + 0.5 * opening)
    slopes = mix(first, last, u) - 1.6 * curl[:, None] * u**5
    xyz = blades(
        2.25 * np.arange(count) + rng.uniform(0, 0.5, count),
        (0.62 + 0.26 * share) * rng.uniform(0.95, 1.05, count),
        (0.14 + 0.52 * share) * rng.uniform(0.95, 1.1, count),
        slopes + rng.uniform(-0.03, 0.03, (count, 1)),
        ((0, 0.45), (0.3, 0.85), (0.65, 1.05), (0.88, 0.95), (1, 0.7)),
        base=0.045 + 0.2 * share, tip=0.16, wrap=0.92, across=across,
    )  # fmt: skip
    wave = np.sin(5 * np.linspace(-1, 1, across) + rng.uniform(0, 6, (count, 1, 1)))
    share = share[:, None, None]
    xyz[..., 2] += 0.03 * wave * u[:, None] ** 4 * share - 0.12 * share**2
    rgb = tint(rng, xyz, deep * 0.8, rim, power=2.2, jitter=0.05)
    rgb *= mix(0.85, 1.03, share)[..., None]
    green = leaf_green(rng)
    sepals = blades(
        directions(rng, 5), np.full(5, 0.8), np.full(5, 0.13), inclines(rng, 5, 0.2, -0.6),
        ((0, 1), (0.3, 1), (1, 0.03)), base=0.08,
    )  # fmt: skip
    sepals[..., 2] -= 0.12
    inner = int(count * 0.6)  # of these only the upper half can be seen
    return [
        Surface(xyz[:inner, 5:], rgb[:inner, 5:], stripes(9, 0.03), glow=0.3),
        Surface(xyz[inner:], rgb[inner:], stripes(9, 0.03), glow=0.3),
        cap(0.4, 0.2, deep * 0.6),
        Surface(sepals, tint(rng, sepals, green, green * 1.1)),
        cap(0.2, -0.3, green, lowered=0.02),
    ]


def sunflower(rng) -> list[Surface]:
    """Three rings of pointed rays around a large dark disc."""
    inner, outer = _choose(rng, _SUNFLOWERS)
    disc, rise = rng.uniform(0.42, 0.54), rng.uniform(0.1, 0.6)
    outline = ((0, 0.5), (0.2, 0.85), (0.42, 1), (0.7, 0.72), (0.9, 0.28), (1, 0.03))
    parts = []
    for ring in range(3):
        count = int(rng.integers(12, 18))
        xyz = blades(
            directions(rng, count, 0.6, ring / 3),
            (1.06 - disc) * rng.uniform(0.92, 1.12, count),
            0.13 * rng.uniform(0.85, 1.15, count),
            inclines(rng, count, rise - 0.14 * ring, rise - rng.uniform(0.5, 1.2), jitter=0.25),
            outline, base=0.86 * disc, cup=0.5, twist=rng.uniform(-0.35, 0.35, count),
        )  # fmt: skip
        xyz[..., 2] -= 0.03 * ring
        rgb = tint(rng, xyz, inner, outer, power=0.9, jitter=0.1)
        parts.append(Surface(xyz, rgb, stripes(5, 0.14)))
    dark = mix(colour(44, 24, 14), colour(82, 50, 22), rng.random())
    heart = mix(dark * 1.3, colour(118, 120, 50), rng.random())
    pollen = mix(colour(208, 130, 20), dark * 1.6, rng.random())
    knots = ((0, heart), (0.4, heart), (0.52, dark), (0.72, dark * 1.25), (0.8, pollen))
    green = leaf_green(rng)
    bracts = blades(
        directions(rng, 17), np.full(17, 0.62), np.full(17, 0.1), inclines(rng, 17, 0.0, -0.6),
        ((0, 0.8), (0.3, 1), (1, 0.04)), base=0.6 * disc,
    )  # fmt: skip
    bracts[..., 2] -= 0.1
    return [
        joined(*parts),
        cap(disc, 0.12, dark * 0.7),
        florets(rng, 380, disc * 0.99, 0.12, disc * 0.062, knots, bump=1.5),
        Surface(bracts, tint(rng, bracts, green, green), under=True),
        cap(disc * 0.95, -0.22, green, lowered=0.06),
    ]


def tulip(rng) -> list[Surface]:
    """A cup of two times three petals, from closed to wide open."""
    base, body, edge = _choose(rng, _TULIPS)
    flare = rng.random() ** 1.5  # 0 is a closed bud, 1 wide open
    u, v = grid(16, 9)
    heights = (0, 0.12, 0.35, 0.7, 1)
    slope = (0.0, 0.5, 1.38 - 0.38 * flare, 1.82 - 0.85 * flare, 2.25 - 1.75 * flare)
    outline = ((0, 0.35), (0.2, 0.85), (0.45, 1.05), (0.7, 0.88), (0.88, 0.5), (1, 0.03))
    rim = np.clip(0.8 * np.abs(v) ** 2.2 + np.maximum(0, u - 0.7) * 1.6, 0, 1)[None, ..., None]
    lines = _flames(int(rng.integers(7, 12)), 0.1)
    parts = []
    for ring in range(2):
        xyz = blades(
            directions(rng, 3, 0.12, 0.5 * ring),
            1.66 * rng.uniform(0.96, 1.04, 3),
            np.full(3, (0.56, 0.6)[ring]),
            np.interp(u[:, 0], heights, slope)
            + rng.uniform(-0.04, 0.04, (3, 1))
            + (0.06, -0.03)[ring],
            outline, base=0.06, wrap=0.93 - 0.2 * flare, across=9, cup=(-0.12, -0.05)[ring],
        )  # fmt: skip
        rgb = mix(tint(rng, xyz, base, body, power=0.35, jitter=0.05), edge, rim)
        parts.append(Surface(xyz, rgb, lines, glow=0.45))
    parts = [joined(*parts)]
    ink = mix(colour(50, 40, 20), colour(230, 200, 60), rng.random())
    stamens = blades(
        directions(rng, 6), np.full(6, 0.5), np.full(6, 0.04), inclines(rng, 6, 1.0, 1.3),
        ((0, 0.4), (0.5, 0.5), (0.6, 1.2), (1, 1)), base=0.06, across=3,
    )  # fmt: skip
    pistil = blades(
        directions(rng, 3), np.full(3, 0.55), np.full(3, 0.06), inclines(rng, 3, 1.57, 1.2),
        ((0, 1), (0.8, 0.8), (1, 1.5)), base=0.03, across=3,
    )  # fmt: skip
    parts.append(Surface(stamens, tint(rng, stamens, ink, ink)))
    parts.append(Surface(pistil, tint(rng, pistil, colour(170, 190, 90), colour(220, 220, 130))))
    return [replace(part, xyz=(part.xyz - [0, 0, 0.75]) * 0.95) for part in parts]
