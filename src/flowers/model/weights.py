"""Where the backbone's weights come from: a path, Keras' cache, Keras' download, nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flowers import download, files
from flowers.errors import InputError, WorldError


@dataclass(frozen=True)
class Published:
    """A weights file as its publisher offers it."""

    url: str
    md5: str
    bytes: int  # no more than


# What keras.applications.ResNet50(weights="imagenet", include_top=False) downloads: He et al. 2015.
RESNET50 = Published(
    "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    md5="4d473c1dd8becc155b73f8504c6f6626",
    bytes=100_000_000,
)


@dataclass(frozen=True)
class Weights:
    """A weights file, or None for a random start, and a description for people."""

    path: Path | None
    description: str


def find(
    weights: str, backbone: str, *, say: Callable[[str], None], published: Published = RESNET50
) -> Weights:
    """Finds the weights asked for.

    Args:
        weights: "imagenet" (Keras' cache, else its download), "none" (a seeded random start),
            a path, or "auto": as "imagenet", and "none" with a warning when that fails.
        backbone: only resnet50 has published weights; for another "auto" means "none".
        say: receives the warning.
        published: the file that "imagenet" means.

    Raises:
        InputError: a path that is not there, or "imagenet" for a backbone that has none.
        WorldError: "imagenet" was asked for and can be neither found nor downloaded.
    """
    if weights == "none" or (weights == "auto" and backbone != "resnet50"):
        return Weights(None, "random start, no pretrained weights")
    if weights in ("auto", "imagenet"):
        if backbone != "resnet50":
            raise InputError("weights none or a path", f"imagenet for {backbone}", "Use `none`.")
        try:
            return Weights(_imagenet(published), "ImageNet weights (He et al. 2015)")
        except WorldError as error:
            if weights == "imagenet":
                raise
            say(
                "WARNING: no ImageNet weights: they are not in Keras' cache and cannot be "
                f"downloaded ({error.received}). Training starts from random weights, which "
                "learns far less from few photos. With a network, run again; or name a file "
                "with --weights."
            )
            return Weights(None, "random start, since no ImageNet weights could be reached")
    path = Path(weights)
    if not path.is_file():
        raise InputError(
            "weights auto, imagenet, none or the path of a file",
            f"{weights!r}, where there is no file",
            "Correct --weights.",
        )
    return Weights(path, f"{path.name}, sha256 {files.sha256(path)[:12]}")


def _imagenet(published: Published) -> Path:
    """The cached file when it is whole, else the download into Keras' own cache."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    path = home / "models" / published.url.rsplit("/", 1)[1]
    if path.is_file() and files.digest(path, "md5") == published.md5:
        return path
    return download.fetch(published.url, path, md5=published.md5, size_limit=published.bytes)
