"""Augmentation: seeded, mild, without black corners, and the same from any batch or thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from flowers.data.augment import augment, shifted

SIZE = 48


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    """Six soft photos, uint8 [6, 48, 48, 3], with a bright left and a dark right side."""
    random = np.random.default_rng(0)
    slope = np.linspace(200, 60, SIZE)[None, None, :, None]
    tint = random.uniform(-40, 40, (6, 1, 1, 3))
    return np.clip(slope + tint + np.zeros((6, SIZE, SIZE, 3)), 0, 255).astype(np.uint8)


def test_the_seed_alone_decides_and_not_the_place_in_the_batch(batch):
    seeds = np.arange(6)
    varied = augment(batch, seeds)
    assert varied.shape == batch.shape and varied.dtype == np.uint8
    assert np.array_equal(varied, augment(batch, seeds))
    assert np.array_equal(varied[::-1], augment(batch[::-1], seeds[::-1]))
    assert np.array_equal(varied[2:3], augment(batch[2:3], seeds[2:3]))
    assert not np.array_equal(varied, augment(batch, seeds + 6))


def test_the_photos_given_are_not_changed(batch):
    before = batch.copy()
    augment(batch, np.arange(6))
    assert np.array_equal(batch, before)


def test_strength_scales_it_and_none_changes_nothing(batch):
    assert np.array_equal(augment(batch, np.arange(6), strength=0), batch)
    upright = [seed for seed in range(40) if unmirrored(batch[0], seed)][:12]
    photos = np.repeat(batch[:1], len(upright), axis=0)
    little, usual = (
        np.abs(augment(photos, np.array(upright), strength).astype(int) - photos).mean()
        for strength in (0.1, 1.0)
    )
    assert 0 < little < usual / 3


def unmirrored(photo: np.ndarray, seed: int) -> bool:
    varied = augment(photo[None], np.array([seed]))[0].astype(int)
    return varied[:, : SIZE // 2].mean() > varied[:, SIZE // 2 :].mean()


def test_about_half_are_mirrored(batch):
    upright = sum(unmirrored(batch[0], seed) for seed in range(200))
    assert 70 <= upright <= 130


@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_no_turn_shows_a_corner_from_outside(strength):
    """A photo of one colour stays a photo of one colour: what is filled in is its reflection."""
    flat = np.full((100, SIZE, SIZE, 3), (180, 120, 90), np.uint8)
    varied = augment(flat, np.arange(100), strength)
    assert (varied.min(axis=(1, 2)) == varied.max(axis=(1, 2))).all()


def test_changes_of_light_and_colour_are_mild():
    flat = np.full((300, 16, 16, 3), (180, 120, 90), np.uint8)
    colours = augment(flat, np.arange(300))[:, 0, 0].astype(int)
    assert np.abs(colours.mean(axis=0) - (180, 120, 90)).max() < 6
    assert np.abs(colours - (180, 120, 90)).max() < 75
    assert (colours.argmax(axis=1) == 0).all(), "red stays the strongest"
    assert len(np.unique(colours, axis=0)) > 250


def test_most_of_the_photo_stays_in_view():
    """A white square of the middle half is never lost, and never fills the photo."""
    photo = np.zeros((SIZE, SIZE, 3), np.uint8)
    photo[SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4] = 255
    varied = augment(np.repeat(photo[None], 200, axis=0), np.arange(200))
    bright = (varied[..., 1] > varied.max(axis=(1, 2, 3))[:, None, None] / 2).mean(axis=(1, 2))
    assert bright.min() > 0.2 and bright.max() < 0.45


def test_a_shift_is_a_crop_of_the_padded_photo_or_of_its_mirror(batch):
    seeds = np.arange(300)
    one = np.repeat(batch[:1], 300, axis=0)
    moved = shifted(one, seeds)
    padded = np.pad(batch[0], ((4, 4), (4, 4), (0, 0)), constant_values=128)
    crops = {
        padded[down : down + SIZE, right : right + SIZE][:, ::step].tobytes()
        for down in range(9)
        for right in range(9)
        for step in (1, -1)
    }
    found = {photo.tobytes() for photo in moved}
    assert moved.shape == one.shape and moved.dtype == np.uint8
    assert found <= crops and len(found) > 100, "of 162, drawn 300 times"
    np.testing.assert_array_equal(shifted(one[:3], seeds[5:8]), moved[5:8])
    np.testing.assert_array_equal(one[0], batch[0])


def test_threads_give_the_same(batch):
    seeds = np.arange(60)
    photos = np.tile(batch, (10, 1, 1, 1))
    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(augment, np.split(photos, 10), np.split(seeds, 10))
        together = np.concatenate(list(parts))
    assert np.array_equal(together, augment(photos, seeds))


def test_photos_and_seeds_must_match(batch):
    with pytest.raises(ValueError):
        augment(batch, np.arange(5))
