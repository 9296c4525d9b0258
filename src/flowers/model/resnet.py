"""Residual networks put together from their blocks, as He et al. published them in 2015.

"Deep Residual Learning for Image Recognition" (arXiv 1512.03385): ResNet-50 for ImageNet-sized
photos and the thin ResNets for CIFAR-10, each with its plain twin, the same layers without the
shortcuts. Kernels start as in He et al. 2015b ("Delving Deep into Rectifiers"), BatchNorm comes
after every convolution, weight decay is 1e-4.

Where the stride sits: a bottleneck that halves its input does so in its first 1x1 convolution, as
in the paper and in `keras.applications.ResNet50`. The later "v1.5" (torchvision, NVIDIA) moves the
stride to the 3x3, so that no position of the input is skipped: the same parameters, about 6 % more
arithmetic and, by NVIDIA's account, 0.5 points more on ImageNet. Weights trained for one load into
the other, but do not serve it.

Layers are named as in Keras (`conv3_block1_2_conv`: stage 3, first block, second convolution), so
its weights load by name: `model.load_weights("resnet50_..._notop.h5", by_name=True)`. Any stage's
output is a cut: `keras.Model(model.input, model.get_layer("conv4_block6_out").output)`.

Shapes in the comments are [B, height, width, channels] and grow from the top down.
"""

from __future__ import annotations

from numbers import Integral
from typing import Literal

import keras
from keras import KerasTensor, layers

from flowers.config import DEEPEST
from flowers.errors import InputError
from flowers.model.blocks import (
    basic_block,
    check_shortcut,
    convolution,
    convolutional_block,
    identity_block,
    regularizer,
)

CIFAR_DEPTHS = (20, 32, 44, 56, 110)  # He et al., Table 6; any other 6n + 2 works as well
RESNET50_STAGES = (  # the last layer of conv1 to conv5: where to cut, what the tests compare
    "conv1_relu",
    "conv2_block3_out",
    "conv3_block4_out",
    "conv4_block6_out",
    "conv5_block3_out",
)

_SMALLEST = 32  # px: ResNet-50 divides its input by 32


def resnet50(
    input_shape: tuple[int, int, int] = (224, 224, 3),
    classes: int = 1000,
    *,
    plain: bool = False,
    weight_decay: float = 1e-4,
) -> keras.Model:
    """ResNet-50 (Table 1 of the paper), with random weights.

    It scales as Keras' ImageNet weights expect: blue, green, red, each less its ImageNet mean.
    One graph so serves from scratch and with those weights. The range, about -124 to 151, does
    no harm from scratch: BatchNorm after the first convolution takes out any scale.

    Args:
        input_shape: (height, width, 3), at least 32 px a side.
        classes: at least 2.
        plain: leave out every shortcut, the projections too: what the paper compares with.
        weight_decay: lambda of the paper, 1e-4: every kernel w adds lambda * w to its gradient,
            as lambda / 2 times the sum of w squared in the loss. Biases and BatchNorm are left
            alone. 0 where the optimizer decays by itself (AdamW).

    Returns:
        A model from photos [B, height, width, 3], RGB, 0-255, to probabilities [B, classes],
        float32. At 64 x 64 with 6 classes: 23,600,006 parameters, 53,120 of them statistics.

    Raises:
        InputError: the input is too small or not RGB, or there are fewer than two classes.
    """
    _check(input_shape, classes)
    photos = keras.Input(input_shape, name="photos")  # [B, 224, 224, 3], RGB, 0-255
    x = resnet50_features(photos, plain=plain, weight_decay=weight_decay)
    probabilities = _head(x, classes, weight_decay)
    return keras.Model(photos, probabilities, name="plain50" if plain else "resnet50")


def resnet50_features(
    photos: KerasTensor, *, plain: bool = False, weight_decay: float = 1e-4
) -> KerasTensor:
    """The body of `resnet50`, from photos [B, height, width, 3], RGB, 0-255, to its last stage's
    output [B, height / 32, width / 32, 2048]."""
    # Lists and floats, not tensors: what a graph captures as a tensor, ONNX asks the caller for.
    x = keras.ops.take(photos, [2, 1, 0], axis=-1)  # BGR
    x = layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68], name="scaling")(x)

    x = layers.ZeroPadding2D(3, name="conv1_pad")(x)  # [B, 230, 230, 3]
    x = convolution(
        x, 64, 7, "conv1", stride=2, padding="valid", weight_decay=weight_decay
    )  # [B, 112, 112, 64]
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # [B, 114, 114, 64]
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)  # [B, 56, 56, 64]

    stages = (("conv2", 64, 3, 1), ("conv3", 128, 4, 2), ("conv4", 256, 6, 2), ("conv5", 512, 3, 2))
    settings = {"plain": plain, "weight_decay": weight_decay}
    for stage, filters, blocks, stride in stages:
        # [B, 56, 56, 256], [B, 28, 28, 512], [B, 14, 14, 1024], [B, 7, 7, 2048]
        x = convolutional_block(x, filters, f"{stage}_block1", stride=stride, **settings)
        for block in range(2, blocks + 1):
            x = identity_block(x, filters, f"{stage}_block{block}", **settings)
    return x


def resnet_cifar(
    depth: int,
    classes: int,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    shortcut: Literal["A", "B"] = "A",
    *,
    plain: bool = False,
    weight_decay: float = 1e-4,
) -> keras.Model:
    """A thin ResNet for small photos (section 4.2 of the paper), with random weights.

    A 3x3 convolution, three stages of n basic blocks with 16, 32 and 64 channels, and the head:
    6n + 2 layers. It scales to -1 to 1, for any set of photos; the paper takes off CIFAR-10's
    mean image, which BatchNorm after the first convolution makes up for. Convolutions have no
    bias, since BatchNorm's follows.

    Args:
        depth: 6n + 2, from 8 to 200. The paper has 20, 32, 44, 56 and 110.
        classes: at least 2.
        input_shape: (height, width, 3), at least 32 px a side.
        shortcut: where the shape changes, "A" (identity and zeros, no parameter; the paper's
            choice on CIFAR-10) or "B" (1x1 convolution). Everywhere else it is the identity.
        plain: leave out every shortcut: the paper's plain-20 and so on.
        weight_decay: see `resnet50`.

    Returns:
        A model from photos [B, height, width, 3], RGB, 0-255, to probabilities [B, classes],
        float32. Trainable parameters with 10 classes and "A": 0.27 M at depth 20, 0.85 M at 56,
        1.7 M at 110 (Table 6).

    Raises:
        InputError: another depth, an unknown shortcut, an input that is too small or not RGB,
            or fewer than two classes.
    """
    _check_depth(depth)
    check_shortcut(shortcut)
    _check(input_shape, classes)
    photos = keras.Input(input_shape, name="photos")  # [B, 32, 32, 3], RGB, 0-255
    x = cifar_features(photos, depth, shortcut, plain=plain, weight_decay=weight_decay)
    probabilities = _head(x, classes, weight_decay)
    kind = "plain" if plain else "resnet"
    return keras.Model(photos, probabilities, name=f"{kind}{depth}_cifar")


def cifar_features(
    photos: KerasTensor,
    depth: int,
    shortcut: Literal["A", "B"] = "A",
    *,
    plain: bool = False,
    weight_decay: float = 1e-4,
) -> KerasTensor:
    """The body of `resnet_cifar`, from photos [B, height, width, 3], RGB, 0-255, to its last
    stage's output [B, height / 4, width / 4, 64]."""
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scaling")(photos)  # -1 to 1
    x = convolution(x, 16, 3, "conv1", weight_decay=weight_decay, bias=False)  # [B, 32, 32, 16]
    x = layers.Activation("relu", name="conv1_relu")(x)

    settings = {"shortcut": shortcut, "plain": plain, "weight_decay": weight_decay}
    for stage, filters, stride in (("conv2", 16, 1), ("conv3", 32, 2), ("conv4", 64, 2)):
        # [B, 32, 32, 16], [B, 16, 16, 32], [B, 8, 8, 64]
        x = basic_block(x, filters, f"{stage}_block1", stride=stride, **settings)
        for block in range(2, (depth - 2) // 6 + 1):
            x = basic_block(x, filters, f"{stage}_block{block}", **settings)
    return x


def convolutions(model: keras.Model) -> list[layers.Conv2D]:
    """The convolutions that the data passes one after the other, first to last.

    Projections lie beside that path and are left out: 49 layers for ResNet-50, depth - 1 for a
    CIFAR network, the same list for a network and its plain twin.
    """
    return [
        layer
        for layer in model.layers
        if isinstance(layer, layers.Conv2D) and not layer.name.endswith("_0_conv")
    ]


def _head(x: KerasTensor, classes: int, weight_decay: float) -> KerasTensor:
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)  # [B, channels]
    return layers.Dense(
        classes,
        activation="softmax",
        kernel_initializer="he_normal",
        kernel_regularizer=regularizer(weight_decay),
        dtype="float32",  # also in mixed precision, where 16 bits are too few for a softmax
        name="predictions",
    )(x)  # [B, classes]


def _check(input_shape: tuple[int, int, int], classes: int) -> None:
    shape = tuple(input_shape)
    sides_fit = all(isinstance(side, Integral) and side >= _SMALLEST for side in shape[:2])
    if len(shape) != 3 or shape[2] != 3 or not sides_fit:
        raise InputError(
            f"photos of at least {_SMALLEST} x {_SMALLEST} px with 3 colour channels",
            f"an input shape of {shape}",
            f"Give (height, width, 3) with both sides {_SMALLEST} px or more.",
        )
    if not isinstance(classes, Integral) or classes < 2:
        raise InputError(
            "at least 2 classes", f"{classes!r}", "Give a folder of photos for each class."
        )


def _check_depth(depth: int) -> None:
    fits = isinstance(depth, Integral) and 8 <= depth <= DEEPEST and depth % 6 == 2
    if not fits:
        raise InputError(
            f"a depth of 6n + 2 layers, from 8 to {DEEPEST}",
            f"{depth!r}",
            f"The paper has {', '.join(map(str, CIFAR_DEPTHS))}; take one of them.",
        )
