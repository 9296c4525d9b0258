"""Every number of the project, each with its unit or its reason, in frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from flowers.errors import InputError

MODEL_SPACE = 200_000_000  # bytes a run asks for before it begins: the model and its report
THAW = ("head", "stage", "all")  # from the smallest to the largest part that learns


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

    `thaw` says from where on layers learn: "head" is the dense layers alone, "stage" the last
    stage of the backbone and the head, "all" the whole network. BatchNorm never learns (its
    statistics were measured on 1.28 million photos; a few thousand would only blur them).
    """

    name: str
    thaw: str
    epochs: int
    rate: float  # peak learning rate of AdamW, reached after the warm-up, then a cosine to zero
    batch: int = 32  # photos a step
    warmup: float = 0.1  # share of the steps over which the rate rises from zero
    patience: int = 3  # epochs without a better validation loss before the phase stops

    def __post_init__(self) -> None:
        if self.thaw not in THAW or self.epochs < 1 or not 0 < self.rate < 1:
            raise InputError(
                f"a phase with thaw one of {', '.join(THAW)}, epochs >= 1 and 0 < rate < 1",
                f"thaw={self.thaw!r}, epochs={self.epochs}, rate={self.rate}",
                "Correct the phase.",
            )


# The three phases of the default recipe.
HEAD = Phase("head", thaw="head", epochs=30, rate=1e-3, batch=64, patience=8)
LAST_STAGE = Phase("last stage", thaw="stage", epochs=6, rate=5e-4, patience=3)
EVERYTHING = Phase("everything", thaw="all", epochs=10, rate=5e-5, patience=4)


def phases(names: str, epochs: int | None = None, rate: float | None = None) -> tuple[Phase, ...]:
    """Phases from their names, as the command line takes them: "head,stage,all".

    Args:
        names: comma-separated, each once, from the smallest part to the largest.
        epochs: replaces the number of epochs of every phase.
        rate: replaces the peak learning rate of the last phase.

    Raises:
        InputError: an unknown name.
    """
    known = {phase.thaw: phase for phase in (HEAD, LAST_STAGE, EVERYTHING)}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted or any(name not in known for name in wanted):
        raise InputError("phases out of head, stage, all", repr(names), "Correct --phases.")
    chosen = [known[name] for name in wanted]
    if epochs is not None:
        chosen = [replace(phase, epochs=epochs) for phase in chosen]
    if rate is not None:
        chosen[-1] = replace(chosen[-1], rate=rate)
    return tuple(chosen)


@dataclass(frozen=True)
class Config:
    """One training run. Everything that changes its result stands here."""

    seed: int = 0
    size: int = 224  # px: what the ImageNet weights were trained at
    backbone: str = "resnet50"
    weights: str = "auto"  # auto | imagenet | none | a path
    head: tuple[int, ...] = (256, 128, 64)  # units of the dense layers, ReLU after each
    dropout: float = 0.2  # after each dense layer
    # kept of each training photo: itself and augmented ones; None: what suits the weights
    views: int | None = None
    label_smoothing: float = 0.1
    weight_decay: float = 1e-4
    shares: SplitShares = field(default_factory=SplitShares)
    phases: tuple[Phase, ...] | None = None  # None: what suits weights and machine (train.recipe)
    precision: str = "auto"  # auto | float32 | mixed_bfloat16 | mixed_float16

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
                Phase("last stage", thaw="stage", epochs=2, rate=1e-3, batch=16),
            ),
        }
        return cls(**(values | changes))


DEFAULT = Config()
