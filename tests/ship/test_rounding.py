"""Weights as integers: the nearest step, and better than the nearest for what a layer reads."""

import numpy as np
import pytest

from flowers.ship import rounding


@pytest.fixture
def layer() -> tuple[np.ndarray, np.ndarray]:
    """Weights [16, 200] and patches [1000, 200] whose values go up and down together."""
    random = np.random.default_rng(0)
    patches = random.normal(size=(1000, 20)) @ random.normal(size=(20, 200))
    patches = np.maximum(patches + 0.3 * random.normal(size=(1000, 200)), 0)
    return random.normal(size=(16, 200)).astype(np.float32), patches.astype(np.float32)


def test_weights_are_rounded_to_the_nearest_step_of_their_channel():
    random = np.random.default_rng(0)
    sizes = np.array([[1], [10], [0], [1e-3]])
    weights = (random.normal(size=(4, 45)) * sizes).astype(np.float32)
    steps = rounding.scales(weights)
    rounded = rounding.nearest(weights, steps)
    assert rounded.dtype == np.int8 and rounded.min() >= -127
    assert (np.abs(weights - rounded * steps[:, None]) <= steps[:, None] * 0.5001).all()
    assert np.abs(rounded[[0, 1, 3]]).max(axis=1).tolist() == [127, 127, 127]


def test_compensated_integers_answer_more_nearly(layer):
    weights, patches = layer
    steps = rounding.scales(weights)
    second = patches.T @ patches / len(patches)
    exact = patches @ weights.T
    errors = [
        np.square(patches @ (rounded * steps[:, None]).T - exact).mean()
        for rounded in (
            rounding.nearest(weights, steps),
            rounding.compensated(weights, steps, second),
        )
    ]
    assert errors[1] < 0.5 * errors[0]


def test_values_that_never_vary_do_no_harm(layer):
    weights, patches = layer
    patches[:, 50:80] = 0
    steps = rounding.scales(weights)
    rounded = rounding.compensated(weights, steps, patches.T @ patches / len(patches))
    assert np.isfinite(rounded).all() and np.abs(rounded).max() <= 127
    exact = patches @ weights.T
    relative = np.abs(patches @ (rounded * steps[:, None]).T - exact).mean() / np.abs(exact).mean()
    assert relative < 0.02


def test_without_anything_read_the_nearest_is_taken(layer):
    weights, _ = layer
    steps = rounding.scales(weights)
    found = rounding.compensated(weights, steps, np.zeros((200, 200), np.float32))
    np.testing.assert_array_equal(found, rounding.nearest(weights, steps))
