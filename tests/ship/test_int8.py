"""8 bits: channels are evened out, the mean error is taken out, and moments are true."""

import keras
import numpy as np

from flowers.ship import int8
from flowers.ship.equalising import equalised
from flowers.ship.litert import Opened, flows
from flowers.ship.patches import Reading, moments


def test_the_mean_answer_is_nearer_for_the_photos(shipped):
    """Without its photos nothing is corrected: zeros tell nothing and shift nothing."""
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
        path.write_bytes(int8.to_int8(model, seen))
        heat = runtimes.open_model(path, card)(pixels)["heat"]
        apart.append(float(np.abs((heat - exact).mean(axis=0)).mean()))
    assert apart[0] < apart[1]


def test_moments_predict_what_a_convolution_answers(tmp_path):
    """A kernel times the mean patch is the mean answer; all places of a small photo are drawn."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    keras.utils.set_random_seed(0)
    photo = keras.Input((8, 8, 3))
    convolution = keras.layers.Conv2D(5, 3, strides=1, padding="same", use_bias=False)
    model = keras.Model(photo, convolution(photo))
    model.export(tmp_path / "model", verbose=False)
    lite = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "model")).convert()
    photos = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 3), np.uint8)
    entry = Interpreter(model_content=lite).get_input_details()[0]["index"]
    reading = Reading(int(entry), (3, 3), 1)
    found = moments(lite, [reading, reading], photos)[reading]
    kernel = convolution.get_weights()[0].reshape(27, 5)
    answers = model.predict(photos.astype(np.float32), verbose=0).reshape(-1, 5)
    np.testing.assert_allclose(found.mean @ kernel, answers.mean(axis=0), rtol=1e-4)
    squares = np.einsum("io,ij,jo->o", kernel, found.second, kernel)
    np.testing.assert_allclose(squares, np.square(answers).mean(axis=0), rtol=1e-4)


def test_equalising_changes_no_answer_and_evens_out_what_is_read(shipped):
    from flowers.data import photos

    paths = sorted(shipped.photos.rglob("*.jpg"))[:6]
    pixels = np.stack([photos.read(path, 32) for path in paths])
    model = (shipped.folder / "flowers.tflite").read_bytes()
    even = equalised(model, pixels)
    pairs = [
        (first.written, second.kernel)
        for first in Opened(model).convolutions()
        for second in Opened(model).convolutions()
        if first.relu and second.read == first.written
    ]
    assert pairs
    answers, spreads = [], []
    for stage in (model, even):
        opened, largest, last = Opened(stage), {}, []
        written = opened.convolutions()[-1].written
        for tensor_of in flows(stage, pixels, "a test"):
            last.append(tensor_of(written).copy())
            for tensor, _ in pairs:
                now = tensor_of(tensor).max(axis=(0, 1, 2))
                largest[tensor] = np.maximum(largest.get(tensor, 0), now)
        answers.append(np.concatenate(last))
        loud = [largest[tensor][largest[tensor] > 0] for tensor, _ in pairs]
        spreads.append(np.mean([np.log(part).std() for part in loud]))
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-4 * np.abs(answers[0]).max())
    assert spreads[1] < spreads[0]
