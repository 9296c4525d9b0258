"""The painted flowers: the same everywhere, varied, and hard enough for a test."""

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flowers.data import painted
from flowers.errors import InputError

# Each photo of seed 7 at 64 px, shrunk to 3 x 3 pixels: their red, green and blue in hexadecimal.
KEPT = {
    "daisy": "6f6166ab9da16e6162ad9b9fd4ba7fbba5a8846a66bba3a8775f5e",
    "dandelion": "74786db3bcbb919b90a4ada4b6bebab0b8b7696a60919b916a7162",
    "rose": "c79146ac8951ae8e65aa8c539f854bba9151a88a5c8c774a8a724a",
    "sunflower": "7c6322856b1e5e4b2d675b309a820d836c1773651c6c672390780e",
    "tulip": "4a262951303230292c73292b83363460262a3c482b453e30393427",
}


def shrunk(photo: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(photo).resize((side, side), Image.Resampling.BOX)
    return np.asarray(image, np.float32)


# --- one photo -------------------------------------------------------------------------------


@pytest.mark.parametrize("label", painted.LABELS)
def test_a_seed_paints_the_same_photo_today_and_tomorrow(label):
    photo = painted.paint(label, 7, size=64)
    assert np.array_equal(photo, painted.paint(label, 7, size=64))
    kept = np.frombuffer(bytes.fromhex(KEPT[label]), np.uint8).reshape(3, 3, 3)
    difference = np.abs(shrunk(photo, 3) - kept).max()
    assert difference <= 3, "another picture than before: raise EDITION and store the new one"


@pytest.mark.parametrize("size", [16, 100, 224])
def test_a_photo_is_square_8_bit_rgb(size):
    photo = painted.paint("rose", 0, size)
    assert photo.shape == (size, size, 3)
    assert photo.dtype == np.uint8
    assert photo.std() > 20


@pytest.mark.parametrize("label", painted.LABELS)
def test_the_scene_is_the_same_at_every_size(label):
    large, small = painted.paint(label, 2, 160), painted.paint(label, 2, 80)
    assert np.abs(shrunk(large, 10) - shrunk(small, 10)).mean() < 6  # hairs and rims are coarser


@pytest.mark.parametrize("label", painted.LABELS)
def test_seeds_differ_clearly(label):
    views = [shrunk(painted.paint(label, seed, 64), 8) for seed in range(6)]
    for i, one in enumerate(views):
        for other in views[:i]:
            assert np.abs(one - other).mean() > 15


def test_labels_with_the_same_seed_share_nothing_but_the_seed():
    views = [shrunk(painted.paint(label, 3, 64), 8) for label in painted.LABELS]
    for i, one in enumerate(views):
        for other in views[:i]:
            assert np.abs(one - other).mean() > 15


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("orchid", 0), "daisy, dandelion, rose, sunflower, tulip"),
        (("rose", -1), "seed of 0 or more"),
        (("rose", 0, 8), "16 to 2048 pixels"),
        (("rose", 0, 100_000), "16 to 2048 pixels"),
    ],
)
def test_what_cannot_be_painted_is_refused(arguments, expected):
    with pytest.raises(InputError, match=expected):
        painted.paint(*arguments)


def test_mean_colour_does_not_tell_the_flowers_apart():
    count = 60
    colours = [
        painted.paint(label, seed, 64).mean((0, 1))
        for label in painted.LABELS
        for seed in range(count)
    ]
    labels = np.repeat(np.arange(len(painted.LABELS)), count)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    accuracy = cross_val_score(classifier, np.array(colours), labels, cv=folds).mean()
    assert 0.3 < accuracy < 0.8  # 0.2 is chance: colours tell something, as they do in a garden


def test_a_ground_is_a_photo_without_a_flower_and_another_one_for_each_seed():
    first, again, other = (painted.ground(seed, 48) for seed in (3, 3, 4))
    assert first.shape == (48, 48, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 2
    with pytest.raises(InputError):
        painted.ground(-1)
