"""8 bits: the smallest error that rounding can have, and its mean taken out."""

import numpy as np

from flowers.ship import rounding


def test_weights_are_rounded_to_the_nearest_step_of_their_channel():
    random = np.random.default_rng(0)
    weights = random.normal(size=(4, 3, 3, 5)).astype(np.float32) * [
        [[[1]]],
        [[[10]]],
        [[[0]]],
        [[[1e-3]]],
    ]
    rounded, scales = rounding.rounded_by_channel(weights.astype(np.float32))
    assert rounded.dtype == np.int8 and rounded.min() >= -127
    lost = np.abs(weights - rounded * scales[:, None, None, None])
    assert (lost <= scales[:, None, None, None] * 0.5001).all()
    assert np.abs(rounded[[0, 1, 3]]).reshape(3, -1).max(axis=1).tolist() == [127, 127, 127]


def test_the_mean_answer_is_nearer_for_the_correction(shipped):
    """Without its photos the correction is none: zeros shift nothing."""
    from flowers.data import photos
    from flowers.ship import card as cards
    from flowers.ship import runtimes

    card = cards.load(shipped.model)
    paths = sorted(shipped.photos.rglob("*.jpg"))
    pixels = np.stack([photos.read(path, 32) for path in paths])
    model = (shipped.folder / "flowers.tflite").read_bytes()
    exact = runtimes.open_model(shipped.folder / "flowers.tflite", card)(pixels)["heat"]
    apart = []
    for number, seen in enumerate((pixels, np.zeros_like(pixels[:1]))):
        path = shipped.folder.parent / f"rounded-{number}.tflite"
        path.write_bytes(rounding.to_int8(model, seen))
        heat = runtimes.open_model(path, card)(pixels)["heat"]
        apart.append(float(np.abs((heat - exact).mean(axis=0)).mean()))
    assert apart[0] < apart[1]
