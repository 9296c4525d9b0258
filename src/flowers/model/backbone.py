"""The part of the network that knows photos: ImageNet's ResNet50, the networks written out in
`model.resnet`, which start from random weights, and a miniature for tests."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
from keras import layers

from flowers import hdf5
from flowers.config import check_backbone
from flowers.errors import InputError
from flowers.model import resnet, start

# He et al.'s weights expect blue, green, red minus ImageNet's means (Caffe's form).
CAFFE_MEANS = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class Backbone:
    """How to build a backbone, and where it can be cut.

    `build` takes raw photos (`[B, size, size, 3]`, RGB, 0-255), a path to weights or None, and
    the seed of a random start, and returns the feature map (`[B, h, w, channels]`). `cut` names
    the layer that feeds the last stage; `strided` the layers that read it through 1x1
    convolutions of stride 2, where nothing else reads it. `levels` names the layers whose outputs,
    averaged over the photo, tell known from unknown photos (judge.novelty): the cut as "conv4" and
    the feature map as "conv5".
    """

    name: str
    build: Callable[[keras.KerasTensor, Path | None, int], keras.KerasTensor]
    cut: str
    strided: tuple[str, ...]
    smallest: int  # px: the smallest photo it takes
    levels: Mapping[str, str] = field(default_factory=dict)


def find(name: str) -> Backbone:
    """The backbone called `name`.

    Raises:
        InputError: there is none of that name, or its depth is not 6n + 2.
    """
    match name:
        case "resnet50":
            first = ("conv5_block1_0_conv", "conv5_block1_1_conv")
            levels = {"conv4": "conv4_block6_out", "conv5": "conv5_block3_out"}
            return Backbone(name, _resnet50, levels["conv4"], first, smallest=32, levels=levels)
        case "miniature":
            levels = {"conv4": "conv4_out", "conv5": "conv5_out"}
            return Backbone(name, _miniature, levels["conv4"], (), smallest=16, levels=levels)
        case "resnet50-scratch":
            return replace(find("resnet50"), name=name, build=_resnet50_from_scratch)
    check_backbone(name, size=224)
    kind, depth = re.fullmatch(r"(resnet|plain)([0-9]+)", name).groups()
    return _cifar(name, int(depth), plain=kind == "plain")


def recognise(model: keras.Model) -> Backbone:
    """The backbone that a model was built on, told by its layers' names.

    Raises:
        InputError: it is none of ours.
    """
    names = {layer.name for layer in model.layers}
    # a CIFAR network has three stages of as many blocks each, and adds none up when it is plain
    blocks = sum(bool(re.fullmatch(r"conv4_block[0-9]+_out", name)) for name in names)
    kind = "resnet" if any(name.endswith("_add") for name in names) else "plain"
    cifar = [f"{kind}{6 * blocks + 2}"] if blocks else []
    for name in ("resnet50", "miniature", *cifar):
        found = find(name)
        if {found.cut, *found.levels.values()} <= names:
            return found
    raise InputError(
        "a classifier on a backbone called resnet50, resnet20 and so on, or miniature",
        f"a model called {model.name} with other layers",
        "Pass a model that `flowers train` has saved.",
    )


def caffe_scaling(photos: keras.KerasTensor) -> keras.KerasTensor:
    """RGB 0-255 to what ImageNet's ResNet50 expects, in plain operations.

    Equal to `keras.applications.resnet50.preprocess_input`, which turns into required inputs
    of the file when it is exported to ONNX; this form saves, reloads and exports.
    """
    blue_green_red = keras.ops.take(photos, [2, 1, 0], axis=-1)
    offsets = [-mean for mean in CAFFE_MEANS]
    return layers.Rescaling(1.0, offset=offsets, name="scaling")(blue_green_red)


def _resnet50(photos: keras.KerasTensor, weights: Path | None, seed: int) -> keras.KerasTensor:
    """ResNet50 without its top, laid flat into the model so that every layer stays reachable."""
    scaled = caffe_scaling(photos)
    model = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=scaled)
    if weights is None:
        start.structured(model, seed)
    else:
        load_weights(model, weights)
    return model.output  # [B, size/32, size/32, 2048]


def _resnet50_from_scratch(
    photos: keras.KerasTensor, weights: Path | None, seed: int
) -> keras.KerasTensor:
    """ResNet-50 as `model.resnet` writes it out; the optimizer decays the weights, not the loss."""
    _require_none("resnet50-scratch", weights, "Use `none`, or --backbone resnet50.")
    return resnet.resnet50_features(photos, weight_decay=0.0)  # [B, size/32, size/32, 2048]


def _cifar(name: str, depth: int, *, plain: bool) -> Backbone:
    """A thin network of He et al.'s section 4.2, or its twin without shortcuts."""

    def build(photos: keras.KerasTensor, weights: Path | None, seed: int) -> keras.KerasTensor:
        _require_none(name, weights, "Use `none`.")
        return resnet.cifar_features(photos, depth, plain=plain, weight_decay=0.0)

    last = (depth - 2) // 6
    # the two last stages, under the names that ResNet-50 gives to its own
    levels = {"conv4": f"conv3_block{last}_out", "conv5": f"conv4_block{last}_out"}
    return Backbone(name, build, levels["conv4"], (), smallest=32, levels=levels)


def _require_none(name: str, weights: Path | None, remedy: str) -> None:
    if weights is not None:
        raise InputError(f"no weights for {name}, which starts at random", str(weights), remedy)


def load_weights(model: keras.Model, path: Path) -> None:
    """Loads backbone weights (.h5 or .weights.h5) into `model`.

    Raises:
        InputError: there is no such file, or it does not fit the network.
    """
    if not path.is_file():
        raise InputError(
            f"a weights file at {path}", "no such file", "Correct --weights, or use `auto`."
        )
    hdf5.require_plain(path, path, path.stat().st_size)
    try:
        with warnings.catch_warnings():
            # Keras only warns about layers that it finds no weights for, and leaves them random
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise InputError(
            f"weights of {model.name} without its top in {path}",
            str(error).strip().split("\n")[0][:200],
            "Use the file that Keras downloads (resnet50_..._notop.h5), or remove a damaged one.",
        ) from error


def _miniature(photos: keras.KerasTensor, weights: Path | None, seed: int) -> keras.KerasTensor:
    """Three small stages with BatchNorm: the engine's logic in milliseconds."""
    _require_none("the miniature backbone", weights, "Use `none`.")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scaling")(photos)
    for stage, channels in (("conv2", 8), ("conv4", 16), ("conv5", 32)):
        x = layers.Conv2D(channels, 3, strides=2, padding="same", name=f"{stage}_conv")(x)
        x = layers.BatchNormalization(name=f"{stage}_bn")(x)
        x = layers.ReLU(name=f"{stage}_out")(x)
    return x  # [B, size/8, size/8, 32]
