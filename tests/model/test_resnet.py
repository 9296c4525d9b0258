"""The written-out networks against Keras' own, the paper's figures, and what they promise."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest

from flowers.errors import InputError
from flowers.model.blocks import basic_block, convolutional_block, identity_block
from flowers.model.resnet import (
    CIFAR_DEPTHS,
    RESNET50_STAGES,
    convolutions,
    resnet50,
    resnet_cifar,
)

SHARED = Path(__file__).resolve().parents[3] / "shared"
WEIGHTS = SHARED / "weights" / "resnet50_conv1-4_imagenet_notop.weights.h5"


def count(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def photos(size: int) -> np.ndarray:
    """Noise, a colour ramp, a red disc on green, and black: float32 [4, size, size, 3], 0-255."""
    rows, columns = np.mgrid[0:size, 0:size] / (size - 1)
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3))
    ramp = np.stack([255 * rows, 255 * columns, 255 * (1 - rows)], axis=-1)
    disc = np.where(((rows - 0.5) ** 2 + (columns - 0.4) ** 2 < 0.1)[..., None], [220, 20, 30], 0)
    disc = np.where(disc == 0, [30, 140, 40], disc)
    return np.stack([noise, ramp, disc, np.zeros((size, size, 3))]).astype("float32")


def run(model: keras.Model, x: np.ndarray) -> np.ndarray | list[np.ndarray]:
    """One forward pass; `predict` would first spend seconds on tracing."""
    outputs = model(x, training=False)
    convert = keras.ops.convert_to_numpy
    return [convert(out) for out in outputs] if isinstance(outputs, list) else convert(outputs)


def stages(model: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    cuts = [model.get_layer(name).output for name in RESNET50_STAGES]
    return run(keras.Model(model.input, cuts), x)


def assert_same_stages(ours: keras.Model, theirs: keras.Model) -> None:
    """Raw photos into ours, Keras' preprocessed ones into theirs: 1e-4, absolute, everywhere."""
    x = photos(64)
    expected = stages(theirs, keras.applications.resnet50.preprocess_input(x.copy()))
    received = stages(ours, x)
    sizes = [(32, 64), (16, 256), (8, 512), (4, 1024), (2, 2048)]
    for name, (side, channels), a, b in zip(
        RESNET50_STAGES, sizes, received, expected, strict=True
    ):
        assert a.shape == b.shape == (4, side, side, channels), name
        assert 1 < b.max() < 1e4, name  # neither dead, nor so large that 1e-4 means nothing
        assert np.abs(a - b).max() <= 1e-4, name


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """ResNet-50 for the hand signs: 64 x 64, six classes."""
    keras.utils.set_random_seed(0)
    return resnet50((64, 64, 3), 6)


@pytest.fixture
def kept(model):
    """The same model, given back with the weights it had."""
    weights = model.get_weights()
    yield model
    model.set_weights(weights)


# ---------------------------------------------------------------- ResNet-50 is Keras' ResNet-50


def test_resnet50_parameters(model):
    assert model.count_params() == 23_600_006
    assert count(model.non_trainable_weights) == 53_120
    # What the paper's Table 1 calls 50 layers: 49 convolutions and the dense one.
    assert len(convolutions(model)) + 1 == 50
    assert model.get_layer("predictions").output.shape == (None, 6)


def test_resnet50_equals_keras_with_random_weights_loaded_by_name(kept, tmp_path):
    theirs = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    random = np.random.default_rng(0)
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # As after training: no two channels alike. Fresh ones are all 1, 0, 0, 1. The last
            # of a block is small, or sixteen sums of random numbers would run away.
            scale = 0.2 if layer.name.endswith("_3_bn") else 1.0
            low, high = (1e3, 1e5) if layer.name == "conv1_bn" else (0.5, 2.0)
            shape = layer.gamma.shape
            gamma, beta = random.uniform(0.5, 1.5, shape), random.normal(0, 0.2, shape)
            mean, variance = random.normal(0, 0.2, shape), random.uniform(low, high, shape)
            layer.set_weights([scale * gamma, beta, mean, variance])
        elif isinstance(layer, keras.layers.Conv2D):
            layer.bias.assign(random.normal(0, 0.2, layer.bias.shape))
    theirs.save(tmp_path / "theirs.h5")  # the form of the file that Keras downloads
    kept.load_weights(tmp_path / "theirs.h5", by_name=True)
    assert_same_stages(kept, theirs)


@pytest.mark.skipif(not WEIGHTS.exists(), reason="the shared weights are not beside the repository")
def test_resnet50_equals_keras_with_imagenet_weights(kept):
    theirs = keras.applications.ResNet50(
        include_top=False, weights=str(WEIGHTS), input_shape=(64, 64, 3)
    )
    names = {layer.name for layer in kept.layers}
    for layer in theirs.layers[1:]:  # the first is the input
        assert layer.name in names
        kept.get_layer(layer.name).set_weights(layer.get_weights())
    assert_same_stages(kept, theirs)
    by_name = [weight.copy() for weight in kept.get_weights()]

    for layer in convolutions(kept):
        layer.kernel.assign(np.zeros(layer.kernel.shape))
    body = keras.Model(kept.input, kept.get_layer(RESNET50_STAGES[-1]).output)
    body.load_weights(WEIGHTS)  # without a detour: layers of a kind stand in the same order
    for direct, named in zip(kept.get_weights(), by_name, strict=True):
        np.testing.assert_array_equal(direct, named)


def test_the_stride_sits_in_the_first_convolution_of_a_block(model):
    strided = {
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.strides == (2, 2)
    }
    halving = {
        f"{stage}_block1_{part}_conv" for stage in ("conv3", "conv4", "conv5") for part in (0, 1)
    }
    assert strided == halving | {"conv1_conv"}


def test_plain50_has_no_way_round():
    plain = resnet50((32, 32, 3), 6, plain=True)
    assert not [layer for layer in plain.layers if isinstance(layer, keras.layers.Add)]
    names = [layer.name for layer in convolutions(plain)]
    assert len(names) == len([x for x in plain.layers if isinstance(x, keras.layers.Conv2D)]) == 49
    # The projections are all that is missing: kernels, biases and BatchNorm's four numbers.
    projections = [(64, 256), (256, 512), (512, 1024), (1024, 2048)]
    missing = sum(before * after + 5 * after for before, after in projections)
    assert plain.count_params() == 23_600_006 - missing


# ------------------------------------------------------------------------------------- its parts


def block(shape: tuple[int, int, int], build) -> keras.Model:
    x = keras.Input(shape)
    return keras.Model(x, build(x))


def silence(model: keras.Model, name: str) -> None:
    """Makes F(x) = 0: what then comes out is the shortcut's."""
    layer = model.get_layer(name)
    layer.gamma.assign(np.zeros(layer.gamma.shape))


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 2, (2, 6, 6, 8)).astype("float32")


def test_identity_block_hands_its_input_through(features):
    residual = block((6, 6, 8), lambda x: identity_block(x, 2, "b"))
    assert np.abs(run(residual, features) - features).max() > 0.1
    silence(residual, "b_3_bn")
    np.testing.assert_array_equal(run(residual, features), features)
    plain = block((6, 6, 8), lambda x: identity_block(x, 2, "b", plain=True))
    silence(plain, "b_3_bn")
    assert run(plain, features).max() == 0


def test_convolutional_block_projects_its_input(features):
    residual = block((6, 6, 8), lambda x: convolutional_block(x, 5, "b", stride=2))
    silence(residual, "b_3_bn")
    projection = residual.get_layer("b_0_conv")
    expected = features[:, ::2, ::2] @ np.asarray(projection.kernel)[0, 0]  # [2, 3, 3, 20]
    expected = np.maximum(expected / np.sqrt(1 + 1.001e-5), 0)
    np.testing.assert_allclose(run(residual, features), expected, atol=1e-5)


@pytest.mark.parametrize("side", [6, 7])
def test_option_a_takes_every_second_pixel_and_adds_zeros(side):
    x = np.random.default_rng(2).uniform(0, 2, (2, side, side, 8)).astype("float32")
    residual = block(x.shape[1:], lambda x: basic_block(x, 12, "b", stride=2, shortcut="A"))
    silence(residual, "b_2_bn")
    out = run(residual, x)
    np.testing.assert_array_equal(out[..., :8], x[:, ::2, ::2])
    assert out.shape[-1] == 12 and out[..., 8:].max() == 0
    plain = block(x.shape[1:], lambda x: basic_block(x, 12, "b", stride=2, plain=True))
    assert residual.count_params() == plain.count_params()  # the shortcut is free


def test_option_b_projects_and_only_where_the_shape_changes():
    model = resnet_cifar(14, 3, shortcut="B")
    projections = [layer.name for layer in model.layers if layer.name.endswith("_0_conv")]
    assert projections == ["conv3_block1_0_conv", "conv4_block1_0_conv"]
    # 1x1 kernels of 16 x 32 and 32 x 64, and the four numbers a channel of their BatchNorm.
    extra = 16 * 32 + 32 * 64 + 4 * (32 + 64)
    assert model.count_params() == resnet_cifar(14, 3, shortcut="A").count_params() + extra


def test_a_strided_3x3_looks_where_the_shortcut_does(features):
    """Keras' "same" would centre it on the odd pixels, beside those the shortcut takes."""
    residual = block((6, 6, 8), lambda x: basic_block(x, 8, "b", stride=2, shortcut="A"))
    layer = residual.get_layer("b_1_conv")
    kernel = np.zeros(layer.kernel.shape)
    kernel[1, 1] = np.eye(8)  # hands on the pixel in its middle
    layer.kernel.assign(kernel)
    out = run(keras.Model(residual.input, layer.output), features)
    np.testing.assert_array_equal(out, features[:, ::2, ::2])


def test_kernels_start_as_he_et_al_propose(model):
    kernel = np.asarray(model.get_layer("conv4_block3_2_conv").kernel)  # [3, 3, 256, 256]
    assert np.std(kernel) == pytest.approx(np.sqrt(2 / (3 * 3 * 256)), rel=0.01)
    assert np.mean(kernel) == pytest.approx(0, abs=1e-3)


def test_weight_decay_adds_lambda_w_to_the_gradient_of_every_kernel():
    model = resnet_cifar(8, 2, weight_decay=1e-2)
    kernels = [
        np.asarray(layer.kernel)
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
    ]
    # The gradient of lambda / 2 times the sum of w squared is lambda w.
    expected = 1e-2 / 2 * sum((kernel**2).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)
    assert len(model.losses) == len(kernels) == 8
    assert resnet_cifar(8, 2, weight_decay=0).losses == []


# ---------------------------------------------------------------------------- the CIFAR networks


def trainable_by_hand(depth: int, classes: int) -> int:
    """Kernels of section 4.2, two numbers of BatchNorm a channel, and the dense layer."""
    n = (depth - 2) // 6
    kernels = 9 * 3 * 16
    for before, after in ((16, 16), (16, 32), (32, 64)):
        kernels += 9 * before * after + (2 * n - 1) * 9 * after * after
    channels = 16 + 2 * n * (16 + 32 + 64)
    return kernels + 2 * channels + (64 + 1) * classes


@pytest.mark.parametrize(
    ("depth", "trainable", "millions"),
    [  # He et al., Table 6, prints the last column
        (20, 269_722, "0.27"),
        (32, 464_154, "0.46"),
        (44, 658_586, "0.66"),
        (56, 853_018, "0.85"),
        (110, 1_727_962, "1.7"),
    ],
)
def test_cifar_parameters(depth, trainable, millions):
    assert depth in CIFAR_DEPTHS
    assert trainable == trainable_by_hand(depth, 10)
    plain = resnet_cifar(depth, 10, plain=True)
    assert count(plain.trainable_weights) == trainable
    assert f"{trainable / 1e6:.{len(millions) - 2}f}" == millions
    path = convolutions(plain)
    assert len(path) == depth - 1
    if depth <= 56:  # the deepest takes seconds to build
        residual = resnet_cifar(depth, 10)
        assert count(residual.trainable_weights) == trainable
        assert [layer.name for layer in convolutions(residual)] == [layer.name for layer in path]


def test_cifar_stages_and_order():
    model = resnet_cifar(14, 10)
    outputs = [model.get_layer(f"conv{stage}_block2_out").output.shape for stage in (2, 3, 4)]
    assert outputs == [(None, 32, 32, 16), (None, 16, 16, 32), (None, 8, 8, 64)]
    names = [f"conv{s}_block{b}_{c}_conv" for s in (2, 3, 4) for b in (1, 2) for c in (1, 2)]
    assert [layer.name for layer in convolutions(model)] == ["conv1_conv", *names]
    scaled = keras.Model(model.input, model.get_layer("scaling").output)
    ends = np.stack([np.zeros((32, 32, 3)), np.full((32, 32, 3), 255)])
    out = scaled.predict(ends.astype("uint8"), verbose=0)
    np.testing.assert_allclose(out[:, 0, 0, 0], [-1, 1], atol=1e-6)


def test_any_size_from_32_px_and_any_shape():
    model = resnet_cifar(8, 3, (45, 38, 3))  # odd sides: shortcut and convolution must agree
    assert model.get_layer("conv4_block1_out").output.shape == (None, 12, 10, 64)


# ----------------------------------------------------------------------- saving, and wrong input


def modules(value: object) -> set[tuple[str, str | None]]:
    if isinstance(value, list):
        return set().union(*map(modules, value))
    if not isinstance(value, dict):
        return set()
    here = {(value["module"], value.get("registered_name"))} if "module" in value else set()
    return here.union(*map(modules, value.values()))


def test_learns_saves_and_reloads_without_our_code(tmp_path):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    y = np.arange(32) % 2
    x = random.integers(0, 256, (32, 32, 32, 3)).astype("uint8")
    x[y == 1, :, :, 0] //= 2  # the second class is less red
    model = resnet_cifar(8, 2)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=25, batch_size=32, verbose=0)
    probabilities = run(model, x)
    assert (probabilities.argmax(axis=-1) == y).all()

    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))
    assert all(module.split(".")[0] == "keras" for module, _ in modules(config) if module)
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(run(again, x), probabilities, atol=1e-6)
    expected = [layer.name for layer in convolutions(model)]
    assert [layer.name for layer in convolutions(again)] == expected


def test_resnet50_reloads_in_safe_mode(model, tmp_path):
    config = model.get_config()
    assert all(module.split(".")[0] == "keras" for module, _ in modules(config) if module)
    body = keras.Model(model.input, model.get_layer("conv2_block1_out").output)
    body.save(tmp_path / "body.keras")  # with the scaling, without 90 MB of kernels
    again = keras.models.load_model(tmp_path / "body.keras", safe_mode=True)
    x = photos(64)
    np.testing.assert_array_equal(run(again, x), run(body, x))


def test_probabilities_stay_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = resnet_cifar(8, 3)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("conv1_conv").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


@pytest.mark.parametrize("depth", [0, 2, 7, 18, 21, 34, 206, -4, 20.0, "20", None])
def test_refuses_a_depth_that_is_not_6n_plus_2(depth):
    with pytest.raises(InputError, match=r"6n \+ 2 layers") as caught:
        resnet_cifar(depth, 10)
    assert caught.value.received == repr(depth) and caught.value.exit_code == 2


@pytest.mark.parametrize(
    "shape", [(31, 64, 3), (64, 16, 3), (64, 64, 1), (64, 64), (None, None, 3)]
)
def test_refuses_photos_that_are_too_small_or_not_rgb(shape):
    for build in (lambda: resnet50(shape, 6), lambda: resnet_cifar(20, 6, shape)):
        with pytest.raises(InputError, match="32 x 32 px") as caught:
            build()
        assert str(shape) in caught.value.received


@pytest.mark.parametrize("classes", [1, 0, -3, 2.0, None])
def test_refuses_fewer_than_two_classes(classes):
    for build in (lambda: resnet50((64, 64, 3), classes), lambda: resnet_cifar(20, classes)):
        with pytest.raises(InputError, match="at least 2 classes"):
            build()


@pytest.mark.parametrize("shortcut", ["C", "a", "", None])
def test_refuses_an_unknown_shortcut(shortcut):
    with pytest.raises(InputError, match="shortcut"):
        resnet_cifar(20, 10, shortcut=shortcut)
