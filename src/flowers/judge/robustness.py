"""Accuracy on photos that were made worse: blurred, noisy, compressed, lighter, turned, small.

In the spirit of Hendrycks and Dietterich, "Benchmarking neural network robustness to common
corruptions and perturbations", ICLR 2019: every kind at five strengths. Lengths are relative to
the photo's side, so that a strength means the same at 32 px and at 224 px.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image, ImageFilter

from flowers.judge.intervals import Interval, bootstrap, wilson
from flowers.progress import progress

PHOTOS = 100  # measured by default: 31 forward passes each, about 3 minutes on 2 cores
BATCH = 32  # photos a forward pass
SIDE = 224  # px: the side at which blur is stated

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 [B, S, S, 3] -> probabilities [B, C]


@dataclass(frozen=True)
class Corruption:
    """One way in which a photo gets worse, at strengths 1 to 5.

    Attributes:
        name: for tables and figures.
        amounts: the five amounts, from mild to severe, as `damage` takes them.
        unit: how an amount is written: "quality {:g}".
        damage: (uint8 [H, W, 3], amount, random) -> uint8 [H, W, 3].
    """

    name: str
    amounts: tuple[float, ...]
    unit: str
    damage: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]

    def at(self, strength: int) -> str:
        """The amount at a strength, in words."""
        return self.unit.format(self.amounts[strength - 1])


@dataclass(frozen=True)
class Score:
    """Accuracy under one corruption at one strength; the interval is Wilson's at 95 %."""

    corruption: str
    strength: int  # 1 to 5; 0 for the photos as they are
    amount: str
    correct: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True)
class Robustness:
    """What `measure` found on `photos` photos. Intervals hold at 95 %."""

    photos: int
    clean: Score
    scores: tuple[Score, ...]  # by corruption, then by strength
    mean: float  # of the accuracies over all corruptions and strengths
    mean_interval: Interval  # bootstrap over photos

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The names, in the order measured."""
        return tuple(dict.fromkeys(score.corruption for score in self.scores))

    def of(self, corruption: str) -> tuple[Score, ...]:
        """The scores of one corruption, strength 1 first."""
        return tuple(score for score in self.scores if score.corruption == corruption)

    def as_dict(self) -> dict:
        """The numbers as dicts, lists and texts: ready for JSON."""
        return asdict(self) | {"scores": [asdict(score) for score in self.scores]}


def blur(photo: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian blur; `amount` is its standard deviation in px of a photo of 224 px a side."""
    radius = amount * max(photo.shape[:2]) / SIDE
    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(radius)))


def noise(photo: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise in every pixel and channel; `amount` is its deviation as a share of white."""
    grain = random.standard_normal(photo.shape, dtype=np.float32) * (255 * amount)
    return np.clip(np.rint(photo + grain), 0, 255).astype(np.uint8)


def compress(photo: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Saved as a JPEG of quality `amount`, 1 to 95, and read again."""
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=int(amount))
    with Image.open(buffer) as image:
        return np.asarray(image.convert("RGB"))


def expose(photo: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Lighter or darker, by chance, by `amount` stops: twice or half the light for each.

    Light goes with the 2.2th power of a pixel's value; what gets lighter than white stays white.
    """
    factor = 2 ** (random.choice((-1, 1)) * amount / 2.2)
    return np.clip(np.rint(photo * np.float32(factor)), 0, 255).astype(np.uint8)


def rotate(photo: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Turned left or right, by chance, by `amount` degrees; corners show the photo's reflection."""
    height, width = photo.shape[:2]
    margin_y, margin_x = height // 2 - 1, width // 2 - 1
    margins = ((margin_y, margin_y), (margin_x, margin_x), (0, 0))
    padded = Image.fromarray(np.pad(photo, margins, mode="reflect"))
    turned = padded.rotate(random.choice((-1, 1)) * amount, resample=Image.Resampling.BILINEAR)
    return np.asarray(turned.crop((margin_x, margin_y, margin_x + width, margin_y + height)))


def shrink(photo: np.ndarray, amount: float, random: np.random.Generator) -> np.ndarray:
    """Reduced to a share `amount` of its sides and enlarged again."""
    height, width = photo.shape[:2]
    image = Image.fromarray(photo)
    small = image.resize(
        (max(1, round(width * amount)), max(1, round(height * amount))), Image.Resampling.BILINEAR
    )
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


CORRUPTIONS = (
    Corruption("blur", (1, 2, 3, 4, 6), "{:g} px of 224", blur),
    Corruption("noise", (0.08, 0.12, 0.18, 0.26, 0.38), "{:.0%} of white", noise),
    Corruption("JPEG", (25, 18, 15, 10, 7), "quality {:g}", compress),
    Corruption("brightness", (0.5, 1, 1.5, 2, 2.5), "\N{PLUS-MINUS SIGN}{:g} stops", expose),
    Corruption("rotation", (15, 30, 45, 60, 90), "\N{PLUS-MINUS SIGN}{:g}°", rotate),
    Corruption("small size", (1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 8), "{:.0%} of its side", shrink),
)


def corrupt(
    photos: np.ndarray, corruption: Corruption, strength: int, seeds: np.ndarray
) -> np.ndarray:
    """Photos under one corruption: uint8 [B, H, W, 3] in and out.

    What happens to a photo depends on its seed, the corruption and the strength alone.

    Args:
        photos: uint8 [B, H, W, 3], RGB.
        corruption: which.
        strength: 1 (mild) to 5 (severe).
        seeds: int [B], non-negative, one a photo.
    """
    amount = corruption.amounts[strength - 1]
    return np.stack(
        [
            corruption.damage(photo, amount, np.random.default_rng([int(seed), strength]))
            for photo, seed in zip(photos, seeds, strict=True)
        ]
    )


def measure(
    predict: Predict,
    photos: np.ndarray,
    truth: np.ndarray,
    *,
    rows: np.ndarray | None = None,
    most: int = PHOTOS,
    seed: int = 0,
    corruptions: Sequence[Corruption] = CORRUPTIONS,
) -> Robustness:
    """Accuracy under every corruption at every strength, on the same photos.

    Args:
        predict: probabilities of a batch.
        photos: uint8 [M, S, S, 3], RGB.
        truth: int [N], the class of each photo that may be measured.
        rows: int [N], which of `photos` these are; all when left out.
        most: measure a random sample of this many. Each costs 31 forward passes.
        seed: of the sample and of what is random in the corruptions.
        corruptions: which.
    """
    rows = np.arange(len(photos)) if rows is None else np.asarray(rows)
    truth = np.asarray(truth)
    if len(rows) != len(truth) or not len(rows) or most < 1:
        raise ValueError(
            "Expected at least one photo, each with its truth. "
            f"Received: {len(rows)} photos, {len(truth)} truths, most={most}."
        )
    drawn = np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])
    rows, truth = rows[drawn], truth[drawn]
    seeds = np.random.default_rng(seed).integers(0, 2**31, len(rows))
    cells = [(one, strength) for one in corruptions for strength in range(1, 1 + len(one.amounts))]
    right = np.zeros((1 + len(cells), len(rows)), dtype=bool)
    with progress(None, "photos made worse", total=right.size) as bar:
        for start in range(0, len(rows), BATCH):
            part = slice(start, start + BATCH)
            batch = photos[rows[part]]
            for number, cell in enumerate([None, *cells]):
                seen = corrupt(batch, *cell, seeds[part]) if cell else batch
                right[number, part] = np.asarray(predict(seen)).argmax(1) == truth[part]
                bar.update(len(batch))
    scores = tuple(
        _score(one.name, strength, one.at(strength), correct)
        for (one, strength), correct in zip(cells, right[1:], strict=True)
    )
    every = right[1:].mean(0)  # [N]: the share of its corrupted versions that a photo survives
    return Robustness(
        photos=len(rows),
        clean=_score("none", 0, "", right[0]),
        scores=scores,
        mean=float(every.mean()),
        mean_interval=bootstrap(np.mean, every, seed=seed),
    )


def _score(name: str, strength: int, amount: str, correct: np.ndarray) -> Score:
    count = int(correct.sum())
    return Score(name, strength, amount, count, count / len(correct), wilson(count, len(correct)))
