"""Gradients by depth and their drawings, on small networks."""

import keras
import numpy as np
import pandas as pd
import pytest

from flowers.judge import figures_depth, gradients
from flowers.model.resnet import convolutions, resnet_cifar

RANDOM = np.random.default_rng(0)
PHOTOS = RANDOM.integers(0, 256, (16, 32, 32, 3)).astype(np.uint8)
LABELS = np.arange(16) % 4


@pytest.fixture(scope="module")
def norms() -> dict[str, np.ndarray]:
    found = {}
    for plain, depth in ((True, 8), (False, 8), (True, 20), (False, 20)):
        keras.utils.set_random_seed(0)
        model = resnet_cifar(depth, 4, plain=plain, weight_decay=0)
        name = f"{'plain' if plain else 'resnet'}{depth}"
        found[name] = gradients.norms(gradients.of_kernels(model, PHOTOS, LABELS))
    return found


def test_gradients_equal_automatic_differentiation_and_leave_the_network_alone():
    tf = pytest.importorskip("tensorflow")
    keras.utils.set_random_seed(1)
    model = resnet_cifar(8, 4, weight_decay=0)
    before = model.get_weights()
    found = gradients.of_kernels(model, PHOTOS, LABELS)
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    kernels = [layer.kernel.value for layer in convolutions(model)]
    with tf.GradientTape() as tape:
        answers = model(PHOTOS.astype("float32"), training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(LABELS, answers))
    assert len(found) == len(kernels) == 7
    for ours, theirs in zip(found, tape.gradient(loss, kernels), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_a_batch_agrees_with_itself_and_not_with_its_opposite():
    keras.utils.set_random_seed(1)
    found = gradients.of_kernels(resnet_cifar(8, 4, weight_decay=0), PHOTOS, LABELS)
    assert gradients.norms(found).min() > 0
    np.testing.assert_allclose(gradients.agreement(found, found), 1, rtol=1e-5)
    opposite = [-one for one in found]
    np.testing.assert_allclose(gradients.agreement(found, opposite), -1, rtol=1e-5)


def test_depth_changes_a_plain_networks_gradient_more(norms):
    spread = {name: row.max() / row.min() for name, row in norms.items()}
    assert len(norms["plain20"]) == 19
    assert spread["plain20"] > 2 * spread["resnet20"]


def test_the_drawings_show_every_network(norms, tmp_path):
    figure = figures_depth.gradient_flow(norms)
    (axes,) = figure.axes
    assert [len(line.get_xdata()) for line in axes.lines] == [7, 7, 19, 19]
    assert axes.get_yscale() == "log"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:2] == ["plain, 8 layers", "residual, 8 layers"]
    colours = [line.get_color() for line in axes.lines]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    table = pd.DataFrame({"loss": [2.0, 1.0, 0.5], "val_accuracy": [0.3, 0.5, 0.6]})
    figure = figures_depth.curves({"plain20": table, "resnet20": table})
    upper, lower = figure.axes
    assert len(upper.lines) == len(lower.lines) == 2
    figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5_000
