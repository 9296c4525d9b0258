"""The painted flowers: the same everywhere, varied, hard enough for a test, and written whole."""

import errno
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flowers.data import painted, photos
from flowers.errors import InputError, WorldError

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


# --- a folder of photos ----------------------------------------------------------------------


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_holds_what_was_asked_for(tmp_path):
    folder = painted.write(tmp_path / "sets" / "painted", per_class=2, seed=5, size=48)
    names = {f"{label}/{label}-000{n}.jpg" for label in painted.LABELS for n in (1, 2)}
    assert set(contents(folder)) == names | {painted.RECORD}
    for name in names:
        with Image.open(folder / name) as image:
            assert (image.format, image.size) == ("JPEG", (48, 48))
    assert [path.name for path in folder.parent.glob(".*")] == [".painted.lock"]


def test_a_photo_in_the_folder_is_the_painted_one(tmp_path):
    first = painted.write(tmp_path / "first", per_class=2, size=64)
    for number in range(2):
        photo = photos.read(first / "tulip" / f"tulip-000{number + 1}.jpg", size=64)
        loss = np.abs(photo.astype(float) - painted.paint("tulip", number, 64)).mean()
        assert loss < 6  # of JPEG
    other = painted.write(tmp_path / "other", per_class=2, seed=1, size=64)
    assert not {bytes_ for bytes_, _ in contents(first).values()} & {
        bytes_ for bytes_, _ in contents(other).values()
    }


def test_the_same_settings_leave_the_folder_alone(tmp_path, monkeypatch):
    folder = painted.write(tmp_path / "set", per_class=1, size=32)
    before = contents(folder)
    monkeypatch.setattr(painted, "paint", None)
    assert painted.write(folder, per_class=1, size=32) == folder
    assert contents(folder) == before


def test_other_settings_paint_the_folder_anew(tmp_path):
    folder = painted.write(tmp_path / "set", per_class=2, size=32)
    painted.write(folder, per_class=1, size=40)
    assert len(contents(folder)) == len(painted.LABELS) + 1
    with Image.open(folder / "rose" / "rose-0001.jpg") as image:
        assert image.size == (40, 40)
    assert {path.name for path in tmp_path.iterdir()} == {"set", ".set.lock"}


def test_a_folder_with_other_things_in_it_is_left_as_it_is(tmp_path):
    (tmp_path / "rose").mkdir()
    (tmp_path / "rose" / "mine.jpg").write_bytes(b"a photo of mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="Name another folder"):
        painted.write(tmp_path, per_class=1, size=32)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("per_class", [0, 100_001])
def test_a_senseless_number_of_photos_is_refused(tmp_path, per_class):
    with pytest.raises(InputError, match="1 to 100,000 photos"):
        painted.write(tmp_path / "set", per_class=per_class)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_folder(tmp_path, monkeypatch):
    def fail(label, seed, size):
        if seed:
            raise OSError(errno.ENOSPC, "No space left on device")
        return np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr(painted, "paint", fail)
    with pytest.raises(WorldError, match="disk is full"):
        painted.write(tmp_path / "set", per_class=2, size=32)
    assert {path.name for path in tmp_path.iterdir()} == {".set.lock"}


def test_a_killed_painter_leaves_nothing_that_counts(tmp_path):
    folder = tmp_path / "set"
    code = "import sys; from flowers.data import painted; painted.write(sys.argv[1], 5000, size=32)"
    with subprocess.Popen([sys.executable, "-c", code, folder]) as painter:
        while not any(tmp_path.glob(".set.*.partial/daisy/*.jpg")):
            assert painter.poll() is None
            time.sleep(0.02)
        painter.kill()
    assert not folder.exists()
    painted.write(folder, per_class=1, size=32)
    assert len(contents(folder)) == len(painted.LABELS) + 1
    assert {path.name for path in tmp_path.iterdir()} == {"set", ".set.lock"}


def test_a_ground_is_a_photo_without_a_flower_and_another_one_for_each_seed():
    first, again, other = (painted.ground(seed, 48) for seed in (3, 3, 4))
    assert first.shape == (48, 48, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 2
    with pytest.raises(InputError):
        painted.ground(-1)
