"""flowers.keras opens in the Keras 3.13 of Colab: nothing in it that this version refuses.

The rules below are the arguments of 3.13.2's own classes; its `from_config` refuses any other.
"""

import json
import zipfile

import keras
import numpy as np
import pytest

from flowers.model import backbone, classifier
from flowers.ship import bundle

EVERY = {"name", "trainable", "dtype", "autocast", "activity_regularizer"}  # of any layer
WEIGHTED = {
    *("kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer"),
    *("kernel_constraint", "bias_constraint", "use_bias", "activation", "lora_rank", "lora_alpha"),
}
KNOWN = {
    "Activation": {"activation"},
    "Add": set(),
    "BatchNormalization": {
        *("axis", "momentum", "epsilon", "center", "scale", "synchronized", "beta_initializer"),
        *("gamma_initializer", "moving_mean_initializer", "moving_variance_initializer"),
        *("beta_regularizer", "gamma_regularizer", "beta_constraint", "gamma_constraint"),
    },
    "Conv2D": WEIGHTED
    | {*("filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "groups")},
    "Dense": WEIGHTED | {"units", "quantization_config"},
    "Dropout": {"rate", "noise_shape", "seed"},
    "GlobalAveragePooling2D": {"data_format", "keepdims"},
    "InputLayer": {"batch_shape", "batch_size", "shape", "sparse", "ragged", "optional"},
    "MaxPooling2D": {"pool_size", "strides", "padding", "data_format"},
    "ReLU": {"max_value", "negative_slope", "threshold"},
    "Rescaling": {"scale", "offset"},
    "ZeroPadding2D": {"padding", "data_format"},
}
OTHERS = {  # not layers
    "DTypePolicy": {"name"},
    "Functional": {"name", "trainable", "layers", "input_layers", "output_layers"},
    "GlorotUniform": {"seed"},
    "Ones": set(),
    "Zeros": set(),
    "Take": {"name", "axis", "dtype"},
}


def refused(value: object) -> set[str]:
    """What in a config.json the older version would refuse."""
    found: set[str] = set()
    if isinstance(value, dict):
        name, settings = value.get("class_name"), value.get("config")
        if isinstance(settings, dict) and name not in (None, "__keras_tensor__"):
            allowed = OTHERS.get(name, KNOWN.get(name, {"no such class"}) | EVERY)
            found |= {f"{name}.{key}" for key in settings if key not in allowed}
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            found |= refused(part)
    return found


def config(path) -> dict:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


@pytest.mark.parametrize("name", ["miniature", "resnet50"])
def test_every_setting_in_it_is_known_to_the_older_version(name, tmp_path, monkeypatch):
    monkeypatch.setattr(backbone.start, "structured", lambda model, seed: None)  # it costs seconds
    model = classifier.build(3, size=32, backbone=name, head=(8, 4)).model
    plain = tmp_path / "plain.keras"
    model.save(plain)
    assert "BatchNormalization.renorm" in refused(config(plain))
    saved = bundle.save(model, tmp_path / "flowers.keras")
    assert refused(config(saved)) == set()
    if name == "miniature":
        opened = keras.saving.load_model(saved, compile=False, safe_mode=True)
        photos = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
        before, after = (m.predict_on_batch(photos) for m in (model, opened))
        np.testing.assert_array_equal(after, before)
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []


def test_a_setting_that_is_in_use_is_never_left_out(tmp_path):
    photo = keras.Input((4, 4, 3))
    normal = keras.layers.BatchNormalization(renorm=True, renorm_momentum=0.5, name="normal")
    model = keras.Model(photo, keras.layers.Flatten()(normal(photo)))
    bundle.save(model, tmp_path / "renorm.keras")
    opened = keras.saving.load_model(tmp_path / "renorm.keras", compile=False)
    assert opened.get_layer("normal").renorm
    assert opened.get_layer("normal").renorm_momentum == 0.5
