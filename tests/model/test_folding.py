"""BatchNorm inside the convolutions answers the same, and learns nothing that the model learns."""

import keras
import numpy as np
import pytest
from keras import layers

from flowers.model import classifier as classifiers
from flowers.model.folding import folded

RANDOM = np.random.default_rng(0)


def norms(model):
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def unsettle(model):
    """Gives every BatchNorm statistics that change something."""
    for norm in norms(model):
        norm.set_weights([RANDOM.uniform(0.5, 1.5, w.shape) for w in norm.get_weights()])
    return model


def answers(model, inputs):
    outputs = keras.tree.flatten(model(inputs, training=False))
    return [keras.ops.convert_to_numpy(output) for output in outputs]


def same(model, inputs):
    """Compares a model with its folded copy; gives the copy."""
    copy = folded(unsettle(model))
    assert [output.shape for output in copy.outputs] == [output.shape for output in model.outputs]
    for ours, theirs in zip(answers(copy, inputs), answers(model, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
    return copy


@pytest.fixture(scope="module")
def resnet50():
    return classifiers.build(3, size=32)


def photos(size=32):
    return RANDOM.integers(0, 256, (2, size, size, 3)).astype(np.uint8)


@pytest.mark.parametrize("backbone", ["resnet8", "plain8", "miniature"])
def test_a_whole_network_answers_the_same(backbone):
    built = classifiers.build(3, size=32, backbone=backbone, head=(8,))
    assert norms(same(built.model, photos())) == []


def test_what_the_trunk_saw_comes_out_in_the_same_order(resnet50):
    copy = same(resnet50.watched("stage"), photos())
    assert norms(copy) == [] and copy.output[1].shape == (None, 1024)
    between = resnet50.between()
    same(between, RANDOM.random((2, *between.input.shape[1:]), np.float32))


def test_named_outputs_keep_their_names(resnet50):
    copy = same(resnet50.levels(), photos())
    assert norms(copy) == [] and set(copy.output) == {"probabilities", "conv4", "conv5"}
    assert copy.output["probabilities"].shape == (None, 3)


@pytest.mark.parametrize("kind", ["activation", "read twice", "put out", "no convolution"])
def test_what_would_answer_otherwise_stays(kind):
    photo = keras.Input((8, 8, 3))
    activation = "relu" if kind == "activation" else None
    before = layers.Conv2D(4, 3, activation=activation)(photo)
    if kind == "no convolution":
        before = layers.MaxPooling2D(2)(photo)
    normed = layers.BatchNormalization()(before)
    outputs = {"read twice": layers.Add()([before, normed]), "put out": [before, normed]}
    model = keras.Model(photo, outputs.get(kind, normed) if activation is None else normed)
    assert len(norms(same(model, RANDOM.random((2, 8, 8, 3), np.float32)))) == 1


@pytest.mark.parametrize("shared", ["convolution", "norm"])
def test_what_is_called_twice_stays(shared):
    photo = keras.Input((8, 8, 3))
    convolution, other, norm = layers.Conv2D(3, 3), layers.Conv2D(3, 3), layers.BatchNormalization()
    first = norm(convolution(photo))
    again = convolution(layers.Rescaling(2.0)(photo)) if shared == "convolution" else None
    second = again if again is not None else norm(other(photo))
    model = keras.Model(photo, layers.Add()([first, second]))
    assert len(norms(same(model, RANDOM.random((2, 8, 8, 3), np.float32)))) == 1


@pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}, {}])
@pytest.mark.parametrize("bias", [False, True])
def test_every_form_of_the_two_layers_is_known(settings, bias):
    photo = keras.Input((8, 8, 3))
    convolution = layers.Conv2D(4, 3, use_bias=bias, bias_initializer="normal")(photo)
    model = keras.Model(photo, layers.BatchNormalization(**settings)(convolution))
    assert norms(same(model, RANDOM.random((2, 8, 8, 3), np.float32))) == []


def test_a_copy_keeps_its_weights_while_the_model_learns_on():
    built = classifiers.build(3, size=32, backbone="miniature", head=(8,))
    asked, copy = photos(), folded(built.model)
    (before,) = answers(copy, asked)
    built.model.set_weights([weight + 0.1 for weight in built.model.get_weights()])
    np.testing.assert_array_equal(answers(copy, asked)[0], before)
