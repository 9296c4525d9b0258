"""The model file: plain Keras opens it, and what else it knows comes back as it was."""

import keras
import numpy as np
import pytest

from flowers.errors import InputError
from flowers.judge import novelty
from flowers.model import classifier
from flowers.ship import bundle


@pytest.fixture(scope="module")
def model():
    return classifier.build(3, size=32, backbone="miniature", head=(16, 8)).model


@pytest.fixture(scope="module")
def fitted():
    random = np.random.default_rng(0)
    features = {"conv4": random.random((60, 8)), "conv5": random.random((60, 16))}
    return novelty.fit(features, random.integers(0, 3, 60), features), features


def test_plain_keras_opens_it_and_the_score_comes_back(model, fitted, tmp_path):
    score, features = fitted
    path = bundle.save(model, tmp_path / "flowers.keras", score)
    opened = keras.saving.load_model(path, compile=False, safe_mode=True)
    photos = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    np.testing.assert_array_equal(opened.predict_on_batch(photos), model.predict_on_batch(photos))
    again = bundle.load_novelty(path)
    np.testing.assert_array_equal(again.score(features), score.score(features))
    assert again.threshold == score.threshold
    assert [file.name for file in tmp_path.iterdir()] == ["flowers.keras"]


def test_a_model_without_a_score_says_so(model, tmp_path):
    assert bundle.load_novelty(bundle.save(model, tmp_path / "plain.keras")) is None


def test_a_damaged_file_is_refused(model, fitted, tmp_path):
    path = bundle.save(model, tmp_path / "flowers.keras", fitted[0])
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="Copy it again"):
        bundle.load_novelty(path)
