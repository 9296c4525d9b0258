"""The blocks that residual networks are made of, after He et al. 2015 (arXiv 1512.03385).

Bottleneck blocks with and without a projection on the shortcut for ImageNet-sized photos, the
basic block for CIFAR; each also plain, without its shortcut. Every convolution is followed by
BatchNorm. Shapes in the comments are [B, height, width, channels].
"""

from __future__ import annotations

from typing import Literal

import keras
from keras import KerasTensor, layers

from flowers.errors import InputError

_EPSILON = 1.001e-5  # BatchNorm's, as in Keras' ResNet50; published weights depend on it
# Share of the old running statistics a step keeps, as in the common implementations of the paper.
# At Keras' 0.99, a set with 30 steps an epoch is validated on stale statistics for three epochs.
_MOMENTUM = 0.9


def identity_block(
    x: KerasTensor, filters: int, name: str, *, plain: bool = False, weight_decay: float = 1e-4
) -> KerasTensor:
    """A bottleneck whose shortcut is the identity: relu(x + F(x)), section 3.3 of the paper.

    Args:
        x: [B, h, w, 4 * filters]; the shortcut adds it as it is, so its channels must fit.
        filters: channels of the two inner convolutions.
        name: prefix of its layers' names, such as "conv2_block2".
        plain: leave the shortcut out: relu(F(x)).
        weight_decay: see `resnet50`.

    Returns:
        [B, h, w, 4 * filters], at least 0; the layer's name is `name` + "_out".
    """
    residual = _bottleneck(x, filters, 1, name, weight_decay)
    return _join(residual, None if plain else x, name)


def convolutional_block(
    x: KerasTensor,
    filters: int,
    name: str,
    *,
    stride: int = 2,
    plain: bool = False,
    weight_decay: float = 1e-4,
) -> KerasTensor:
    """A bottleneck whose shortcut is a 1x1 convolution, for where the shape changes.

    The paper's projection shortcut, equation 2: relu(Ws x + F(x)). The first 1x1 convolution of
    F and the projection both take the stride, so they look at the same positions of x.

    Args:
        x: [B, h, w, c] with any number of channels.
        filters, name, plain, weight_decay: as in `identity_block`.
        stride: 1, or 2 to halve height and width.

    Returns:
        [B, ceil(h / stride), ceil(w / stride), 4 * filters], at least 0.
    """
    shortcut = None
    if not plain:
        shortcut = convolution(
            x, 4 * filters, 1, f"{name}_0", stride=stride, weight_decay=weight_decay
        )
    residual = _bottleneck(x, filters, stride, name, weight_decay)
    return _join(residual, shortcut, name)


def basic_block(
    x: KerasTensor,
    filters: int,
    name: str,
    *,
    stride: int = 1,
    shortcut: Literal["A", "B"] = "A",
    plain: bool = False,
    weight_decay: float = 1e-4,
) -> KerasTensor:
    """Two 3x3 convolutions with a shortcut, the CIFAR networks' block: figure 2 of the paper.

    Args:
        x: [B, h, w, c] with c at most `filters`.
        filters: channels of both convolutions.
        name: prefix of its layers' names.
        stride: of the first convolution and the shortcut.
        shortcut: what to do where the shape changes. "A": every second pixel, and zeros for
            the new channels, without a parameter. "B": a 1x1 convolution.
        plain: leave the shortcut out.
        weight_decay: see `resnet50`.

    Returns:
        [B, ceil(h / stride), ceil(w / stride), filters], at least 0.
    """
    same_shape = stride == 1 and x.shape[-1] == filters
    if plain:
        beside = None
    elif same_shape:
        beside = x
    elif shortcut == "A":
        beside = _padded_identity(x, filters, stride, name)
    else:
        beside = convolution(
            x, filters, 1, f"{name}_0", stride=stride, weight_decay=weight_decay, bias=False
        )
    residual = convolution(
        x, filters, 3, f"{name}_1", stride=stride, weight_decay=weight_decay, bias=False
    )  # [B, h / stride, w / stride, filters]
    residual = layers.Activation("relu", name=f"{name}_1_relu")(residual)
    residual = convolution(
        residual, filters, 3, f"{name}_2", weight_decay=weight_decay, bias=False
    )  # [B, h / stride, w / stride, filters]
    return _join(residual, beside, name)


def _bottleneck(
    x: KerasTensor, filters: int, stride: int, name: str, weight_decay: float
) -> KerasTensor:
    """F(x): 1x1 to `filters` channels, 3x3, 1x1 to four times as many; no ReLU at its end."""
    x = convolution(
        x, filters, 1, f"{name}_1", stride=stride, weight_decay=weight_decay
    )  # [B, h / stride, w / stride, filters]
    x = layers.Activation("relu", name=f"{name}_1_relu")(x)
    x = convolution(x, filters, 3, f"{name}_2", weight_decay=weight_decay)  # the same
    x = layers.Activation("relu", name=f"{name}_2_relu")(x)
    return convolution(
        x, 4 * filters, 1, f"{name}_3", weight_decay=weight_decay
    )  # [B, h / stride, w / stride, 4 * filters]


def convolution(
    x: KerasTensor,
    filters: int,
    size: int,
    name: str,
    *,
    stride: int = 1,
    padding: str = "same",
    weight_decay: float,
    bias: bool = True,
) -> KerasTensor:
    """A convolution and its BatchNorm: [B, h, w, c] to [B, h / stride, w / stride, filters]."""
    if padding == "same" and size > 1 and stride > 1:
        # "same" would pad an even side only below and right and centre the kernel on odd
        # pixels; the shortcut takes the even ones. Padding all round keeps the two aligned.
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    x = layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding=padding,
        use_bias=bias,
        kernel_initializer="he_normal",
        kernel_regularizer=regularizer(weight_decay),
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON, name=f"{name}_bn")(x)


def _padded_identity(x: KerasTensor, filters: int, stride: int, name: str) -> KerasTensor:
    """Option A: every `stride`-th pixel, and channels of zeros after those of x."""
    # Pooling over one pixel is subsampling that every export format knows.
    x = layers.AveragePooling2D(1, strides=stride, name=f"{name}_0_pool")(x)
    missing = filters - x.shape[-1]
    return keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, missing]])


def _join(residual: KerasTensor, shortcut: KerasTensor | None, name: str) -> KerasTensor:
    """relu(shortcut + residual), or relu(residual) in a plain network."""
    if shortcut is not None:
        residual = layers.Add(name=f"{name}_add")([shortcut, residual])
    return layers.Activation("relu", name=f"{name}_out")(residual)


def regularizer(weight_decay: float) -> keras.regularizers.Regularizer | None:
    """Weight decay as a term of the loss; the half turns w squared's gradient, 2w, into w."""
    return keras.regularizers.L2(weight_decay / 2) if weight_decay else None


def check_shortcut(shortcut: str) -> None:
    """Refuses a shortcut option that is neither "A" nor "B"."""
    if shortcut not in ("A", "B"):
        raise InputError(
            'shortcut "A" (identity and zeros) or "B" (1x1 convolution)',
            f"{shortcut!r}",
            'Take "A", as the paper does on CIFAR-10, unless you compare the two.',
        )
