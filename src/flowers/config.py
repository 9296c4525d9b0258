"""Every number of the project, each with its unit or its reason, in frozen dataclasses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from flowers.errors import InputError

MODEL_SPACE = 200_000_000  # bytes a run asks for before it begins: the model and its report
THAW = ("head", "stage", "all", "scratch")  # from the smallest to the largest part that learns
OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "steps")
AUGMENTATIONS = ("photo", "crop", "none")
DEEPEST = 200  # layers: Keras walks the graph recursively, and a plain one of 332 is too deep


@dataclass(frozen=True)
class PhotoLimits:
    """What `data.photos` accepts; the page and the command line use the same numbers."""

    bytes: int = 64 * 1024 * 1024  # of one file on disk; the page has a smaller limit of its own
    pixels: int = 100_000_000  # read from the header, before decoding: 300 MB as RGB
    smallest_side: int = 16  # px: below this nothing of a flower is left
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO")


@dataclass(frozen=True)
class SplitShares:
    """Shares of the photos; what the first two leave is the test set.

    Where a set brings test photos of its own, or `per_class` says how many photos of a class are
    not for the test, the two shares only say how those are divided.
    """

    train: float = 0.70
    validation: float = 0.15
    per_class: int | None = None  # photos of each class for training and validation together

    @property
    def test(self) -> float:
        return round(1 - self.train - self.validation, 6)


@dataclass(frozen=True)
class Phase:
    """One stretch of training: which part learns, for how long, how fast.

    `thaw` says from where on layers learn: "head" is the dense layers alone, "stage" the last
    stage of the backbone and the head, "all" the whole network. In these BatchNorm never learns
    (its statistics were measured on 1.28 million photos; a few thousand would only blur them).
    "scratch" is the whole network from random weights, BatchNorm included.

    optimizer: "adamw" (Loshchilov and Hutter 2019), or "sgd" with momentum 0.9 as in the paper.
    schedule: after the warm-up "cosine" falls to zero; "steps" divides the rate by 10 after half
    and after three quarters of the steps, as He et al. do on CIFAR-10.
    """

    name: str
    thaw: str
    epochs: int
    rate: float  # peak learning rate, reached after the warm-up
    batch: int = 32  # photos a step
    warmup: float = 0.1  # share of the steps over which the rate rises from zero
    patience: int = 3  # epochs without a better validation loss before the phase stops
    optimizer: str = "adamw"
    schedule: str = "cosine"

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS or self.schedule not in SCHEDULES:
            raise InputError(
                f"an optimizer of {', '.join(OPTIMIZERS)} and a schedule of {', '.join(SCHEDULES)}",
                f"{self.optimizer!r} and {self.schedule!r}",
                "Correct the phase.",
            )
        if self.thaw not in THAW or self.epochs < 1 or not 0 < self.rate < 1:
            raise InputError(
                f"a phase with thaw one of {', '.join(THAW)}, epochs >= 1 and 0 < rate < 1",
                f"thaw={self.thaw!r}, epochs={self.epochs}, rate={self.rate}",
                "Correct the phase.",
            )


# The three phases of the default recipe.
HEAD = Phase("head", thaw="head", epochs=30, rate=1e-3, batch=64, patience=8)
LAST_STAGE = Phase("last stage", thaw="stage", epochs=3, rate=5e-4, patience=3)
EVERYTHING = Phase("everything", thaw="all", epochs=10, rate=5e-5, patience=4)

# Of the same number of steps, four views for three epochs gave fewer mistakes than two for six.
VIEWS = 4
# Without pretrained weights the last stage learns nothing useful in a few epochs, while the head on
# the structured start's frozen features does (model.start); more views keep it from overfitting.
VIEWS_FROM_RANDOM = 3

# Networks that start from random weights learn in one phase, to its end.
SCRATCH = Phase("from scratch", thaw="scratch", epochs=40, rate=1e-3, patience=40)
# The CIFAR networks where a GPU is at hand: section 4.2 of He et al. 2015, 64,000 steps of 128
# photos, which are 182 epochs of 45,000; ResNet-20 reaches 0.9125 with it.
PAPER = Phase(
    *("as in the paper", "scratch", 182, 0.1, 128),
    warmup=0.0,
    patience=182,
    optimizer="sgd",
    schedule="steps",
)
# And where there is none: one cycle of the rate (Smith and Topin 2018), in minutes.
ONE_CYCLE = Phase("one cycle", "scratch", 8, 0.2, 128, warmup=0.25, patience=8, optimizer="sgd")
PHASES = {
    "head": HEAD,
    "stage": LAST_STAGE,
    "all": EVERYTHING,
    "scratch": SCRATCH,
    "cycle": ONE_CYCLE,
    "paper": PAPER,
}


def phases(names: str, epochs: int | None = None, rate: float | None = None) -> tuple[Phase, ...]:
    """Phases from their names, as the command line takes them: "head,stage,all".

    Args:
        names: comma-separated keys of `PHASES`, each once, from the smallest part to the largest.
        epochs: replaces the number of epochs of every phase.
        rate: replaces the peak learning rate of the last phase.

    Raises:
        InputError: an unknown name.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted or any(name not in PHASES for name in wanted):
        raise InputError(f"phases out of {', '.join(PHASES)}", repr(names), "Correct --phases.")
    chosen = [PHASES[name] for name in wanted]
    return adjusted(tuple(chosen), epochs, rate)


def adjusted(
    chosen: tuple[Phase, ...], epochs: int | None = None, rate: float | None = None
) -> tuple[Phase, ...]:
    """Phases with another number of epochs each, and another peak rate of the last."""
    if epochs is not None:
        chosen = tuple(replace(phase, epochs=epochs) for phase in chosen)
    if rate is not None:
        chosen = (*chosen[:-1], replace(chosen[-1], rate=rate))
    return chosen


def check_backbone(name: str, size: int) -> None:
    """Refuses a network that cannot be built, or photos too small for it.

    Args:
        name: resnet50, resnet50-scratch, miniature, or resnet<depth> and plain<depth> with the
            depths of He et al.'s networks for CIFAR-10.
        size: side of the photos, px.

    Raises:
        InputError: an unknown name, a depth that is not 6n + 2, or too small a size.
    """
    match = re.fullmatch(r"(?:resnet|plain)([0-9]+)", name)
    if name not in ("resnet50", "resnet50-scratch", "miniature"):
        if match is None:
            raise InputError(
                "a backbone called resnet50, resnet50-scratch, resnet20, 32, 44, 56 or 110, "
                "plain20 and so on, or miniature",
                repr(name),
                "Choose one with --backbone.",
            )
        depth = int(match[1][:6])
        if depth % 6 != 2 or not 8 <= depth <= DEEPEST:
            raise InputError(
                f"a depth of 6n + 2 layers, from 8 to {DEEPEST}",
                repr(name),
                "The paper has resnet20, 32, 44, 56 and 110; take one of them.",
            )
    smallest = 16 if name == "miniature" else 32
    if size < smallest:
        raise InputError(
            f"photos of at least {smallest} px for {name}", f"{size} px", "Raise --size."
        )


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
    # "photo": crops, turns, light and colour; "crop": shifts by 4 px and mirrors, as on CIFAR-10
    augmentation: str = "photo"
    augmentation_strength: float = 1.0  # scales every change that "photo" makes
    label_smoothing: float = 0.1
    weight_decay: float = 1e-4
    shares: SplitShares = field(default_factory=SplitShares)
    phases: tuple[Phase, ...] | None = None  # None: what suits weights and machine (train.recipe)
    precision: str = "auto"  # auto | float32 | mixed_bfloat16 | mixed_float16

    def __post_init__(self) -> None:
        check_backbone(self.backbone, self.size)  # before photos are fetched for nothing
        if self.augmentation not in AUGMENTATIONS:
            raise InputError(
                f"an augmentation of {', '.join(AUGMENTATIONS)}",
                repr(self.augmentation),
                "Correct it.",
            )

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
# A network from scratch is what the paper has: one dense layer after the pooling. Its photos come
# mirrored, cropped and turned anew each epoch. Under AdamW, decay only slowed hand signs down.
FROM_SCRATCH = Config(
    size=64, backbone="resnet50-scratch", weights="none", head=(), views=1, weight_decay=0.0
)
CIFAR = Config(
    size=32,
    backbone="resnet20",
    weights="none",
    head=(),
    views=1,
    augmentation="crop",
    label_smoothing=0.0,
    weight_decay=1e-4,
)
OWN_TEST = SplitShares(0.9, 0.1)  # 45,000 and 5,000 of CIFAR-10's training photos, as in the paper
# 30 training photos a class is Caltech-101's convention; 5 of them choose the epoch.
CALTECH_SHARES = SplitShares(0.75, 0.15, per_class=30)


def usual_phases(config: Config) -> str:
    """The names of the phases that suit a backbone on a CPU, for `phases`."""
    if config.backbone in (DEFAULT.backbone, "miniature"):
        return "head,stage"
    return "scratch" if config.backbone == FROM_SCRATCH.backbone else "cycle"


def set_name(source: str) -> str:
    """The set that `--data` means: signs, cifar10, caltech101, or "flowers" for all others."""
    name = str(source).partition(":")[0]
    if name in ("signs", "cifar10", "caltech101"):
        return name
    return "signs" if str(source).endswith((".h5", ".hdf5")) else "flowers"


def usual(source: str, backbone: str | None = None) -> Config:
    """What suits a set of photos and a backbone, before anybody chooses otherwise.

    Args:
        source: what `--data` was given: signs, cifar10, caltech101 (each also with a path, as in
            "signs:PATH"), or anything else.
        backbone: None takes the set's own.
    """
    name = set_name(source)
    own = {"signs": "resnet50-scratch", "cifar10": "resnet20"}
    backbone = backbone or own.get(name, DEFAULT.backbone)
    if backbone in (DEFAULT.backbone, "miniature"):
        config = DEFAULT
    else:
        config = FROM_SCRATCH if backbone == "resnet50-scratch" else CIFAR
    if name == "cifar10":
        config = replace(config, shares=OWN_TEST)
    if name == "caltech101":
        config = replace(config, shares=CALTECH_SHARES)
    return replace(config, backbone=backbone)
