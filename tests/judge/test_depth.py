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
        found[name] = gradients.norms(model, PHOTOS, LABELS)
    return found


def test_norms_are_those_of_the_gradient():
    """Against finite differences in the last convolution: 30 directions tell it within a half."""
    keras.utils.set_random_seed(1)
    model = resnet_cifar(8, 4, weight_decay=0)
    before = [weight.copy() for weight in model.get_weights()]
    found = gradients.norms(model, PHOTOS, LABELS)
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert found.shape == (7,) and (found > 0).all()
    kernel = convolutions(model)[-1].kernel
    start = keras.ops.convert_to_numpy(kernel)

    def loss(values: np.ndarray) -> float:
        kernel.assign(values)
        outputs = keras.ops.convert_to_numpy(model(PHOTOS.astype("float32"), training=True))
        return -np.log(outputs[np.arange(16), LABELS].astype(np.float64)).mean()

    slopes = []
    for _ in range(30):  # the mean square of slopes along random directions is the norm's square
        direction = RANDOM.normal(size=start.shape).astype(np.float32)
        step = 2e-3 * direction
        slopes.append((loss(start + step) - loss(start - step)) / 4e-3)
    assert np.sqrt(np.mean(np.square(slopes))) == pytest.approx(found[-1], rel=0.5)


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
