"""Reading photos: files to pixels of one size, beside Pillow's `open().resize()` and tf.data.

    .venv/bin/python benchmarks/reading.py --model models/flowers.int8.tflite

On one core beside Pillow, on all cores beside tf.data. Small photos are the real ones as they are
(painted ones elsewhere); large ones are the same enlarged to 5 Mpx, with noise so that their files
weigh what a camera's do. With a model, its accuracy on photos read in both ways shows whether the
difference in pixels matters to it.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from pathlib import Path

import interleaved
import sample
from interleaved import Row

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
LARGE = (2560, 1960)  # px: 5 Mpx
NOISE = 6.0  # grey levels: about 2 MB a file


def main() -> None:
    """Prints a table."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="reading-") as work:
        interleaved.finish(run(arguments, Path(work)), arguments)


def run(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """Photos a second of each reader, and what the readers' difference is worth."""
    small = sample.paths(arguments.data, work, arguments.photos)
    few = small[:: max(1, len(small) // arguments.large)][: arguments.large]
    large = [_enlarged(path, work / f"large-{n:04}.jpg") for n, path in enumerate(few)]
    rows = []
    for name, paths, bound in (("small", small, 1.15), ("5 Mpx", large, 3.0)):
        rows += _rates(name, paths, bound, arguments)
    if arguments.model:
        rows += _accuracies(small[: arguments.judged], arguments)
    return rows


def _rates(name: str, paths: list[Path], bound: float, arguments: argparse.Namespace) -> list[Row]:
    """One core beside Pillow, all cores beside tf.data."""
    import numpy as np

    from flowers.data import parallel, photos

    size, texts = arguments.size, [str(path) for path in paths]
    graph = _tf_data(texts, size)
    sides = {
        "here": lambda: [photos.read(path, size) for path in texts],
        "Pillow": lambda: [plain(path, size) for path in texts],
        "here, all cores": lambda: list(
            parallel.ordered(lambda path: photos.read(path, size), texts)
        ),
        "tf.data": lambda: list(graph.as_numpy_iterator()),
    }
    for side in sides.values():
        side()  # once uncounted: files come into the operating system's cache, graphs are traced
    rates = {name: _rate(interleaved.timed(side), len(paths)) for name, side in sides.items()}
    found = interleaved.measure(rates, arguments.rounds)
    apart = np.mean(
        [np.abs(photos.read(p, size).astype(int) - plain(p, size)).mean() for p in texts[:50]]
    )
    note = f"Pixels of {name} photos differ from Pillow's by {apart:.2f} grey levels on average."
    pairs = (("here", "Pillow"), ("here, all cores", "tf.data"))
    return [
        Row(
            f"{name} photos to {size} px", "/s", pair, found[pair[0]], found[pair[1]],
            ("at least", bound), note,
        )
        for pair in pairs
    ]  # fmt: skip


def _rate(side, count: int):
    return lambda: count / side()


def plain(source: str | io.BytesIO, size: int):
    """uint8 [size, size, 3]: what most programs do."""
    import numpy as np
    from PIL import Image

    with Image.open(source) as image:
        return np.asarray(image.convert("RGB").resize((size, size)))


def _tf_data(paths: list[str], size: int):
    """The input of TensorFlow's own image loading."""
    import tensorflow as tf

    def load(path):
        pixels = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.cast(tf.image.resize(pixels, (size, size)), tf.uint8)

    listed = tf.data.Dataset.from_tensor_slices(paths)
    return listed.map(load, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _accuracies(paths: list[Path], arguments: argparse.Namespace) -> list[Row]:
    """How often a model is right on photos read in both ways: small, and enlarged."""
    from flowers.data import photos
    from flowers.ship.predictor import Predictor

    predictor, size = Predictor.load(arguments.model), arguments.size
    right = {(kind, way): [] for kind in ("small", "5 Mpx") for way in ("here", "Pillow")}
    for path in paths:
        contents = {"small": path.read_bytes(), "5 Mpx": _large(path)}
        for kind, content in contents.items():
            read = {
                "here": photos.read(content, size),
                "Pillow": plain(io.BytesIO(content), size),
            }
            for way, pixels in read.items():
                answer = predictor.predict(pixels).label
                right[kind, way].append(float(answer == path.parent.name))
    rows = []
    note = f"Right of {len(paths)} photos, most of which the model was trained on."
    for kind in ("small", "5 Mpx"):
        values = [(100 * sum(right[kind, way]) / len(paths),) for way in ("here", "Pillow")]
        rows.append(Row(f"accuracy on {kind} photos", "%", ("here", "Pillow"), *values, note=note))
    return rows


def _enlarged(path: Path, target: Path) -> Path:
    target.write_bytes(_large(path))
    return target


def _large(path: Path) -> bytes:
    """A photo enlarged to 5 Mpx, as a JPEG."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize(LARGE), np.float32)
    random = np.random.default_rng(len(path.name))
    noise = random.standard_normal(pixels.shape[:2], np.float32)[..., None] * NOISE
    buffer = io.BytesIO()
    changed = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    Image.fromarray(changed).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _arguments() -> argparse.Namespace:
    parser = interleaved.parser(__doc__, rounds=5)
    parser.add_argument("--data", type=Path, help="folder of class folders of JPEG files")
    parser.add_argument("--photos", type=int, default=500, help="small ones")
    parser.add_argument("--large", type=int, default=24, help="large ones")
    parser.add_argument("--size", type=int, default=224, help="px of a side that is wanted")
    parser.add_argument("--model", type=Path, help="an exported model, to compare its accuracy")
    parser.add_argument("--judged", type=int, default=500, help="photos for that")
    return parser.parse_args()


if __name__ == "__main__":
    main()
