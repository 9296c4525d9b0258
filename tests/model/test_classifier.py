"""The classifier of the design card, layer by layer, and how it is cut and thawed."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from flowers.errors import InputError
from flowers.model import backbone as backbones
from flowers.model import classifier as classifiers

PHOTOS = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)


def answers(model, photos):
    """What a model says of photos, once: so without the seconds that compiling it takes."""
    return keras.ops.convert_to_numpy(model(photos, training=False))


@pytest.fixture(scope="module")
def resnet50():
    return classifiers.build(5, size=64)


def test_is_the_architecture_of_the_design_card(resnet50):
    model = resnet50.model
    assert model.input_shape == (None, 64, 64, 3)
    assert model.count_params() == 24_153_733
    backbone = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    names = [layer.name for layer in model.layers]
    start = names.index("conv1_pad")
    count = len(backbone.layers) - 1
    assert names[start : start + count] == [layer.name for layer in backbone.layers[1:]]
    for ours, theirs in zip(model.layers[start:], backbone.layers[1:], strict=False):
        assert type(ours) is type(theirs)
        assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    head = [
        (type(layer), getattr(layer, "units", None) or getattr(layer, "rate", None))
        for layer in model.layers[start + count :]
    ]
    assert head == [
        (layers.GlobalAveragePooling2D, None),
        (layers.Dense, 256),
        (layers.Dropout, 0.2),
        (layers.Dense, 128),
        (layers.Dropout, 0.2),
        (layers.Dense, 64),
        (layers.Dropout, 0.2),
        (layers.Dense, 5),
    ]
    dense = [layer.activation.__name__ for layer in model.layers if isinstance(layer, layers.Dense)]
    assert dense == ["relu", "relu", "relu", "softmax"]


def test_scales_as_keras_preprocesses(resnet50):
    scaled = keras.Model(resnet50.model.input, resnet50.model.get_layer("scaling").output)
    wanted = keras.applications.resnet50.preprocess_input(PHOTOS.astype(np.float32))
    np.testing.assert_allclose(answers(scaled, PHOTOS), wanted, atol=1e-4)


@pytest.mark.parametrize("thaw", ["head", "stage"])
def test_trunk_and_tail_make_the_whole(resnet50, thaw):
    trunk, tail = resnet50.trunk(thaw), resnet50.tail(thaw)
    whole = answers(resnet50.model, PHOTOS)
    np.testing.assert_allclose(answers(tail, answers(trunk, PHOTOS)), whole, atol=1e-6)
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-5)


def test_keeps_a_quarter_of_the_features_that_the_last_stage_never_reads(resnet50):
    assert resnet50.model.get_layer("conv4_block6_out").output.shape == (None, 4, 4, 1024)
    assert resnet50.trunk("stage").output.shape == (None, 2, 2, 1024)


def test_absorbs_what_a_tail_learned():
    built = classifiers.build(5, size=64)
    tail = built.tail("stage")
    tail.set_weights([weight + 0.01 for weight in tail.get_weights()])
    wanted = answers(tail, answers(built.trunk("stage"), PHOTOS))
    assert np.abs(answers(built.model, PHOTOS) - wanted).max() > 1e-4
    built.absorb(tail)
    np.testing.assert_allclose(answers(built.model, PHOTOS), wanted, atol=1e-6)


def test_thaws_what_is_asked_and_never_batch_norm(resnet50):
    learning = {}
    for part in ("head", "stage", "all"):
        learning[part] = {w.path for w in resnet50.tail(part).trainable_weights}
        assert not any("_bn" in path for path in learning[part])
    assert len(learning["head"]) == 8
    assert learning["head"] < learning["stage"] < learning["all"]
    assert {path.split("_")[0] for path in learning["stage"] - learning["head"]} == {"conv5"}


def test_reloads_in_safe_mode_without_our_code(tmp_path, resnet50):
    path = tmp_path / "model.keras"
    resnet50.model.save(path)
    reloaded = keras.saving.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(answers(reloaded, PHOTOS), answers(resnet50.model, PHOTOS))


def test_the_same_seed_builds_the_same_weights():
    settings = {"size": 32, "backbone": "miniature"}
    prints = [
        classifiers.fingerprint(classifiers.build(3, seed=seed, **settings).model)
        for seed in (1, 1, 2)
    ]
    assert prints[0] == prints[1] != prints[2]


def test_loads_the_weights_of_a_backbone(tmp_path):
    keras.utils.set_random_seed(9)
    backbone = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(64, 64, 3))
    path = tmp_path / "backbone.weights.h5"
    backbone.save_weights(path)
    built = classifiers.build(2, size=64, weights=path)
    features = keras.Model(built.model.input, built.model.get_layer("conv5_block3_out").output)
    scaled = keras.applications.resnet50.preprocess_input(PHOTOS.astype(np.float32))
    np.testing.assert_allclose(
        answers(features, PHOTOS), answers(backbone, scaled), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classes": 1}, "at least two classes"),
        ({"size": 16}, "at least 32 px"),
        ({"backbone": "resnet51"}, "6n . 2 layers"),
        ({"backbone": "plain21"}, "6n . 2 layers"),
        ({"backbone": "resnet2000"}, "6n . 2 layers"),
        ({"backbone": "vgg16"}, "resnet50-scratch, resnet20.*'vgg16'"),
        ({"backbone": "resnet20", "size": 28}, "at least 32 px for resnet20"),
        ({"backbone": "resnet20", "weights": Path("w.h5")}, "no weights for resnet20"),
        ({"backbone": "resnet50-scratch", "weights": Path("w.h5")}, "--backbone resnet50"),
    ],
)
def test_refuses_what_cannot_be_built(settings, words):
    with pytest.raises(InputError, match=words):
        classifiers.build(**{"classes": 2, "size": 64, **settings})


def test_refuses_weights_that_do_not_fit(tmp_path):
    path = tmp_path / "other.weights.h5"
    keras.Sequential([layers.Input((4,)), layers.Dense(2)]).save_weights(path)
    with pytest.raises(InputError, match="without its top"):
        classifiers.build(2, size=64, weights=path)
    path.write_bytes(b"not HDF5 at all")
    with pytest.raises(InputError, match="an HDF5 file"):
        classifiers.build(2, size=64, weights=path)
    with pytest.raises(InputError, match="no such file"):
        classifiers.build(2, size=64, weights=tmp_path / "nowhere.h5")


# --- networks that start from random weights -------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "size", "classes", "parameters", "last"),
    [
        ("resnet50-scratch", 64, 6, 23_600_006, 2048),  # hand signs
        ("resnet20", 32, 10, 271_098, 64),  # CIFAR-10: 0.27 M
        ("plain20", 32, 10, 271_098, 64),
        ("resnet8", 40, 3, None, 64),
    ],
)
def test_networks_from_scratch_are_the_written_out_ones(backbone, size, classes, parameters, last):
    built = classifiers.build(classes, size=size, backbone=backbone, head=())
    if parameters:
        assert built.model.count_params() == parameters
    assert built.model.get_layer("pool").output.shape == (None, last)
    added = any(isinstance(layer, layers.Add) for layer in built.model.layers)
    assert added == (not backbone.startswith("plain"))
    assert not built.model.losses, "the optimizer decays the weights, not the loss"
    photos = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    features = answers(built.trunk("stage"), photos)
    np.testing.assert_allclose(
        answers(built.tail("stage"), features),
        answers(built.model, photos),
        atol=1e-5,
    )


@pytest.mark.parametrize("name", ["resnet50-scratch", "resnet8", "plain20", "resnet38"])
def test_a_network_from_scratch_is_recognised_by_its_layers(name):
    model = classifiers.build(2, size=32, backbone=name, head=()).model
    found = backbones.recognise(model)
    assert found.name == name.removesuffix("-scratch")
    assert found.levels == backbones.find(name).levels


def test_only_from_scratch_does_batch_norm_learn():
    built = classifiers.build(2, size=32, backbone="resnet8", head=())
    norms = [one for one in built.model.layers if isinstance(one, layers.BatchNormalization)]
    for thaw, learns in (("all", False), ("scratch", True), ("all", False)):
        assert {norm.trainable for norm in built.tail(thaw).layers if norm in norms} == {learns}
    assert built.trunk("scratch") is None
