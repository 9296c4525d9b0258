"""The shipped graph: the same numbers as the formulas it stands for, saved and opened again."""

import json
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest

from flowers.errors import InputError
from flowers.judge import explain, similar
from flowers.judge import novelty as novelties
from flowers.judge.novelty import Recipe
from flowers.model import backbone, classifier
from flowers.ship import graph

RECIPES = (Recipe("conv4", 1.5, 16), Recipe("conv5", 0.5, 20))


@pytest.fixture(scope="module")
def photos():
    """uint8 [120, 32, 32, 3]: patches of colour, as unlike each other as photos are."""
    random = np.random.default_rng(0)
    patches = random.integers(0, 256, (120, 4, 4, 3)).astype(np.uint8)
    return patches.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(scope="module")
def built():
    return classifier.build(3, size=32, backbone="miniature", head=(16, 8))


@pytest.fixture(scope="module")
def model(built):
    return built.model


@pytest.fixture(scope="module")
def features(built, photos):
    """What the score looks at in each of `photos`."""
    return {
        n: v for n, v in built.levels().predict_on_batch(photos).items() if n != "probabilities"
    }


@pytest.fixture(scope="module")
def novelty(features):
    held_out = {name: values[60:] for name, values in features.items()}
    return novelties.fit(
        {name: values[:60] for name, values in features.items()},
        np.arange(60) % 3,
        held_out,
        recipes=RECIPES,
    )


@pytest.fixture(scope="module")
def shipped(model, novelty):
    return graph.build(model, novelty)


def test_every_output_is_what_it_says(shipped, model, novelty, photos, features):
    outputs = shipped.predict_on_batch(photos)
    assert {name: part.shape for name, part in outputs.items()} == {
        "probabilities": (120, 3),
        "novelty": (120,),
        "heat": (120, 4, 4),
        "features": (120, 32),
    }
    assert all(part.dtype == np.float32 for part in outputs.values())
    np.testing.assert_allclose(outputs["probabilities"], model.predict_on_batch(photos), atol=1e-6)
    np.testing.assert_allclose(outputs["novelty"], novelty.score(features), rtol=1e-3)
    np.testing.assert_allclose(outputs["features"], features[similar.LEVEL], atol=1e-5)
    for heat, explained in zip(
        outputs["heat"][:5], explain.explain_all(model, photos[:5]), strict=True
    ):
        np.testing.assert_allclose(heat, explained.heat, atol=1e-6)


def test_directions_beyond_the_width_are_in_it(novelty):
    assert novelty.levels["conv5"].rest > 0 and novelty.levels["conv4"].rest == 0


def test_strangers_score_the_same_as_by_the_formula(shipped, built, novelty):
    random = np.random.default_rng(5)
    strange = random.integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    strange[0] = 0
    features = built.levels().predict_on_batch(strange)
    outputs = shipped.predict_on_batch(strange)["novelty"]
    np.testing.assert_allclose(outputs, novelty.score(features), rtol=1e-3)


def test_a_photo_alone_and_as_floats_gets_the_same(shipped, photos):
    together = shipped.predict_on_batch(photos[:7])
    alone = shipped.predict_on_batch(photos[3:4].astype(np.float32))
    for name, part in alone.items():
        np.testing.assert_allclose(part[0], together[name][3], atol=1e-5)


def test_it_saves_without_text_constants_and_opens_in_safe_mode(shipped, photos, tmp_path):
    path = tmp_path / "graph.keras"
    shipped.save(path)
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    assert "captured" not in config.decode()
    assert longest_list(json.loads(config)) < 64
    opened = keras.saving.load_model(path, compile=False, safe_mode=True)
    before, after = (m.predict_on_batch(photos[:4]) for m in (shipped, opened))
    for name, part in before.items():
        np.testing.assert_array_equal(after[name], part)


def longest_list(value) -> int:
    """Of the lists of numbers anywhere in a config."""
    if isinstance(value, dict):
        return max(map(longest_list, value.values()), default=0)
    if isinstance(value, list):
        numbers = all(isinstance(part, int | float) for part in value)
        return len(value) if numbers else max(map(longest_list, value), default=0)
    return 0


def test_without_a_score_there_is_no_such_output(model, photos):
    outputs = graph.build(model).predict_on_batch(photos[:2])
    assert set(outputs) == {"probabilities", "heat", "features"}


def test_a_score_of_another_model_is_refused(model, novelty):
    with pytest.raises(InputError, match="levels conv4, conv5"):
        graph.build(model, replace(novelty, levels={"conv9": novelty.levels["conv4"]}))
    swapped = {"conv4": novelty.levels["conv5"], "conv5": novelty.levels["conv4"]}
    with pytest.raises(InputError, match="16 features of conv4"):
        graph.build(model, replace(novelty, levels=swapped))


def test_a_backbone_is_recognised_by_its_layers(model):
    assert backbone.recognise(model).name == "miniature"
    resnet = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    found = backbone.recognise(resnet)
    assert found.name == "resnet50"
    assert {n: resnet.get_layer(layer).output.shape[-1] for n, layer in found.levels.items()} == {
        "conv4": 1024,
        "conv5": 2048,
    }


def test_a_model_on_another_backbone_is_refused():
    photo = keras.Input((8, 8, 3))
    with pytest.raises(InputError, match="a backbone called resnet50"):
        backbone.recognise(keras.Model(photo, keras.layers.Flatten()(photo)))
