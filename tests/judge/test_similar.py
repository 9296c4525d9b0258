"""The search for similar photos: exact, the same after a file, and plain about bad input."""

import numpy as np
import pytest

from flowers.data import photos as reader
from flowers.errors import InputError
from flowers.judge import similar as similars
from flowers.judge.similar import Similar, agreement, fit


def features(count: int, width: int = 12, seed: int = 0) -> np.ndarray:
    """All positive and far from zero, as pooled features are."""
    random = np.random.default_rng(seed)
    return random.gamma(2, 1, (count, width)).astype(np.float32) + 5


def names(count: int) -> list[str]:
    return [f"rose/{number}.jpg" for number in range(count)]


@pytest.mark.parametrize("block", [7, 8192])
def test_finds_what_a_search_through_all_finds(monkeypatch, block):
    monkeypatch.setattr(similars, "BLOCK", block)
    known, asked = features(50), features(9, seed=1)
    indices, similarities = fit(known, names(50)).query(asked, k=6)
    mean = known.mean(axis=0)
    a, b = asked - mean, known - mean
    cosine = a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    np.testing.assert_array_equal(indices, np.argsort(-cosine, axis=1)[:, :6])
    np.testing.assert_allclose(similarities, -np.sort(-cosine, axis=1)[:, :6], atol=1e-5)


def test_a_known_photo_finds_itself():
    known = features(30)
    indices, similarities = fit(known, names(30)).query(known, k=1)
    assert indices[:, 0].tolist() == list(range(30))
    np.testing.assert_allclose(similarities, 1, atol=1e-5)


def test_asks_for_more_than_there_are():
    indices, similarities = fit(features(4), names(4)).query(features(2, seed=3), k=10)
    assert indices.shape == similarities.shape == (2, 4)
    assert sorted(indices[0]) == [0, 1, 2, 3]
    assert (np.diff(similarities, axis=1) <= 0).all()


def test_components_that_hardly_vary_count_for_little():
    random = np.random.default_rng(4)
    group = np.arange(40) % 2
    known = np.concatenate([group[:, None] * 4.0, random.normal(0, 0.2, (40, 30))], axis=1)
    fitted = fit(known, names(40))
    assert agreement(fitted, known[:20] + 0.01, group[:20], group) > 0.99
    few = fit(known, names(40), components=3)
    assert few.rows.shape == (40, 3)
    assert agreement(few, known[:20] + 0.01, group[:20], group) > 0.99
    assert agreement(fitted, known[:20], 1 - group[:20], group) < 0.01


def test_more_features_than_photos_keep_only_what_there_is():
    fitted = fit(features(6, width=300), names(6))
    assert fitted.rows.shape == (6, 5)
    product = fitted.components.T @ fitted.components
    np.testing.assert_allclose(product, np.eye(5), atol=1e-4)


def test_a_file_gives_the_same_neighbours(tmp_path):
    known, asked = features(60), features(5, seed=2)
    paths = [f"Löwenzahn/{n} \n蒲公英\udcff.jpg" for n in range(60)]
    fitted = fit(known, paths)
    np.savez(tmp_path / "similar.npz", **fitted.arrays())
    with np.load(tmp_path / "similar.npz", allow_pickle=False) as arrays:
        again = Similar.from_arrays(arrays)
    assert again.paths == tuple(paths)
    _, wanted = fitted.query(asked)
    indices, found = again.query(asked)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert indices.shape == (5, 5)


def test_photos_of_one_shape_are_nearest_to_each_other(small_folder):
    files = sorted(small_folder.glob("*/*.jpg"))
    shapes = np.array([path.parent.name for path in files])
    pixels = np.stack([reader.read(path, 32) for path in files]).astype(np.float32)
    looks = np.concatenate([pixels.mean((1, 2)), pixels.std((1, 2))], axis=1)
    known = np.arange(len(files)) % 3 > 0
    fitted = fit(looks[known], [str(path) for path in np.array(files)[known]])
    assert agreement(fitted, looks[~known], shapes[~known], shapes[known], k=3) > 0.6


def test_refuses_what_cannot_be_searched():
    known = features(10)
    fitted = fit(known, names(10))
    spoiled = known.copy()
    spoiled[3, 2] = np.nan
    for call, words in (
        (lambda: fit(known, names(9)), "10 photos, 9 paths"),
        (lambda: fit(known[:1], names(1)), "at least two"),
        (lambda: fit(np.ones((5, 4)), names(5)), "that differ"),
        (lambda: fit(spoiled, names(10)), "no numbers"),
        (lambda: fit(known[0], names(10)), "shape"),
        (lambda: fitted.query(known[:, :5]), "12"),
        (lambda: fitted.query(spoiled), "no numbers"),
        (lambda: fitted.query(known, k=0), "at least one"),
    ):
        with pytest.raises(InputError, match=words):
            call()


@pytest.mark.parametrize("spoil", ["mean", "components", "rows", "paths"])
def test_refuses_a_file_that_does_not_fit_together(spoil):
    arrays = fit(features(10), names(10)).arrays()
    missing = {name: part for name, part in arrays.items() if name != spoil}
    for wrong in (missing, arrays | {spoil: arrays[spoil][:2]}):
        with pytest.raises(InputError, match="do not fit each other"):
            Similar.from_arrays(wrong)
