"""The frozen part's output on disk: computed once, resumed, shared, refused when it is damaged."""

import keras
import numpy as np
import pytest

from flowers.errors import WorldError
from flowers.train import features
from flowers.train.moments import moments


@pytest.fixture(scope="module")
def trunk():
    keras.utils.set_random_seed(0)
    photos = keras.Input((8, 8, 3))
    return keras.Model(photos, keras.layers.Conv2D(4, 3, strides=2, activation="relu")(photos))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (300, 8, 8, 3)).astype(np.uint8)


def counted(pixels):
    seen = []

    def read(photos):
        seen.extend(photos.tolist())
        return pixels[photos]

    return read, seen


def test_equals_the_trunk_photo_by_photo(trunk, pixels, tmp_path):
    numbers = np.random.default_rng(2).permutation(300)[:290]
    found = features.compute(trunk, pixels.__getitem__, numbers, tmp_path, "key", "features")
    asked = numbers[[3, 200, 7, 3, 289]]
    np.testing.assert_allclose(
        found.read(asked), trunk.predict_on_batch(pixels[asked]), rtol=2e-3, atol=1e-2
    )
    assert found.read(asked).dtype == np.float16
    assert found.bytes == 290 * 3 * 3 * 4 * 2


def test_computes_only_what_is_missing(trunk, pixels, tmp_path):
    numbers = np.arange(300)
    read, seen = counted(pixels)
    found = features.compute(trunk, read, numbers, tmp_path, "key", "features")
    assert sorted(seen) == list(range(300))
    whole = found.read(numbers)
    (found.folder / "00001.npy").unlink()
    read, seen = counted(pixels)
    again = features.compute(trunk, read, numbers, tmp_path, "key", "features")
    assert sorted(seen) == list(range(128, 256))
    np.testing.assert_array_equal(again.read(numbers), whole)
    read, seen = counted(pixels)
    features.compute(trunk, read, numbers, tmp_path, "another key", "features")
    assert len(seen) == 300


def test_a_failing_read_leaves_whole_shards_and_nothing_else(trunk, pixels, tmp_path):
    def read(photos):
        if 200 in photos:
            raise RuntimeError("the photo's disk was pulled")
        return pixels[photos]

    with pytest.raises(RuntimeError, match="pulled"):
        features.compute(trunk, read, np.arange(300), tmp_path, "key", "features")
    names = sorted(p.name for p in tmp_path.glob("features-*/*") if not p.name.startswith(".lock"))
    assert names == ["00000.npy"]


def test_a_shard_cut_short_is_named(trunk, pixels, tmp_path):
    found = features.compute(trunk, pixels.__getitem__, np.arange(40), tmp_path, "key", "features")
    shard = found.folder / "00000.npy"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(WorldError, match=r"00000\.npy"):
        found.read(np.arange(40))


def test_values_beyond_half_precision_are_clipped(pixels, tmp_path):
    photos = keras.Input((8, 8, 3))
    huge = keras.Model(photos, keras.layers.Rescaling(1e6)(photos))
    found = features.compute(huge, pixels.__getitem__, np.arange(4), tmp_path, "key", "features")
    assert np.isfinite(found.read(np.arange(4))).all()


@pytest.mark.parametrize("room", [0, 200, 150 * 72, 290 * 72])
def test_what_is_not_kept_is_computed_to_the_same_numbers(trunk, pixels, tmp_path, room):
    numbers = np.random.default_rng(2).permutation(300)[:290]
    arguments = (trunk, pixels.__getitem__, numbers)
    whole = features.compute(*arguments, tmp_path / "whole", "key", "features")
    found = features.compute(*arguments, tmp_path / "part", "key", "features", room)
    assert found.bytes <= room and found.kept in (0, 128, 290)
    asked = np.random.default_rng(3).permutation(numbers)[:100]
    np.testing.assert_array_equal(found.read(asked), whole.read(asked))
    shards = [path.stat().st_size - 128 for path in tmp_path.glob("part/*/*.npy")]
    assert sum(shards) == found.bytes


def test_a_photo_that_was_not_computed_is_refused(trunk, pixels, tmp_path):
    found = features.compute(trunk, pixels.__getitem__, np.arange(40), tmp_path, "key", "features")
    with pytest.raises(ValueError, match="others"):
        found.read(np.array([3, 41]))


@pytest.mark.parametrize(("rows", "channels"), [(1, 3), (257, 33), (1000, 8)])
def test_moments_in_parts_are_those_of_the_whole(rows, channels):
    random = np.random.default_rng(rows)
    whole = random.gamma(2.0, 3.0, (rows, channels)).astype(np.float32)
    mean, deviation = moments(lambda: (whole[n : n + 128] for n in range(0, rows, 128)))
    np.testing.assert_array_equal(mean, whole.mean(axis=0))
    np.testing.assert_array_equal(deviation, whole.std(axis=0))
