"""Every number of the project, each with its unit or its reason, in frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class PhotoLimits:
    """What `data.photos` accepts; the page and the command line use the same numbers."""

    bytes: int = 64 * 1024 * 1024  # of one file on disk; the page has a smaller limit of its own
    pixels: int = 100_000_000  # read from the header, before decoding: 300 MB as RGB
    smallest_side: int = 16  # px: below this nothing of a flower is left
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO")


@dataclass(frozen=True)
class SplitShares:
    """Shares of the photos; what the first two leave is the test set."""

    train: float = 0.70
    validation: float = 0.15

    @property
    def test(self) -> float:
        return round(1 - self.train - self.validation, 6)


@dataclass(frozen=True)
class Phase:
    """One stretch of training: which part learns, for how long, how fast.

    `thaw` names the first layer group that learns: "head" is the dense layers alone, "conv5"
    the last stage and the head, "all" the whole network. BatchNorm never learns (its statistics
    were measured on 1.28 million photos; a few thousand would only blur them).
    """

    name: str
    thaw: str
    epochs: int
    rate: float  # peak learning rate of AdamW, reached after the warm-up, then a cosine to zero
    batch: int = 32  # photos a step
    warmup: float = 0.1  # share of the steps over which the rate rises from zero
    patience: int = 3  # epochs without a better validation loss before the phase stops

    def __post_init__(self) -> None:
        if self.epochs < 1 or not 0 < self.rate < 1:
            raise ValueError(
                f"Expected epochs >= 1 and 0 < rate < 1. Received: epochs={self.epochs}, "
                f"rate={self.rate}."
            )


HEAD = Phase("head", thaw="head", epochs=30, rate=1e-3, batch=64, patience=8)
LAST_STAGE = Phase("last stage", thaw="conv5", epochs=8, rate=5e-4, patience=4)
EVERYTHING = Phase("everything", thaw="all", epochs=10, rate=5e-5, patience=4)


@dataclass(frozen=True)
class Config:
    """One training run. Everything that changes its result stands here."""

    seed: int = 0
    size: int = 224  # px: what the ImageNet weights were trained at
    backbone: str = "resnet50"
    weights: str = "auto"  # auto | imagenet | none | a path
    head: tuple[int, ...] = (256, 128, 64)  # units of the dense layers, ReLU after each
    dropout: float = 0.2  # after each dense layer
    views: int = 2  # kept of each training photo: the photo itself and views - 1 augmented ones
    label_smoothing: float = 0.1
    weight_decay: float = 1e-4
    shares: SplitShares = field(default_factory=SplitShares)
    phases: tuple[Phase, ...] = (HEAD, LAST_STAGE)
    precision: str = "auto"  # auto | float32 | mixed_bfloat16 | mixed_float16

    def with_phases(self, *phases: Phase) -> Config:
        return replace(self, phases=phases)

    @classmethod
    def tiny(cls, **changes: object) -> Config:
        """A run of seconds for tests: a miniature backbone, 32 px, two short phases."""
        values: dict[str, object] = {
            "size": 32,
            "backbone": "miniature",
            "weights": "none",
            "head": (16, 8),
            "views": 2,
            "precision": "float32",
            "phases": (
                Phase("head", thaw="head", epochs=3, rate=1e-2, batch=16),
                Phase("last stage", thaw="conv5", epochs=2, rate=1e-3, batch=16),
            ),
        }
        return cls(**(values | changes))
