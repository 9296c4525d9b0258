"""Reading photos: files to pixels of one size, beside Pillow's `open().resize()` and tf.data.

    .venv/bin/python benchmarks/reading.py --model models/flowers.int8.tflite

On one core beside Pillow, on all cores beside tf.data. Small photos are the real ones as they are
(painted ones elsewhere); large ones are the same enlarged to 5 Mpx, with noise so that their files
weigh what a camera's do. With a model, its accuracy on photos read in both ways shows whether the
difference in pixels matters to it: on the test photos of the catalogue beside the model.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import interleaved
import sample
from interleaved import Row

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
LARGE = (2560, 1960)  # px: 5 Mpx
NOISE = 6.0  # grey levels: about 2 MB a file
APART = 0.2  # points of accuracy that reading our way may change, either way


def main() -> None:
    """Prints a table."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="reading-") as work:
        interleaved.finish(run(arguments, Path(work)), arguments)


def run(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """Photos a second of each reader, and what the readers' difference is worth."""
    # first of all: a model that does not open is known before minutes have gone into rates
    judge = Judge(arguments, work) if arguments.model else None
    small = sample.paths(arguments.data, work, arguments.photos)
    few = small[:: max(1, len(small) // arguments.large)][: arguments.large]
    large = [_enlarged(path, work / f"large-{n:04}.jpg") for n, path in enumerate(few)]
    rows = []
    for name, paths, bound in (("small", small, 1.15), ("5 Mpx", large, 3.0)):
        rows += _rates(name, paths, bound, arguments)
    return rows + (judge.rows() if judge else [])


def _rates(name: str, paths: list[Path], bound: float, arguments: argparse.Namespace) -> list[Row]:
    """One core beside Pillow, all cores beside tf.data."""
    import numpy as np

    from flowers.data import parallel, photos

    size, texts = arguments.size, [str(path) for path in paths]
    passes = {
        "here": lambda: [photos.read(path, size) for path in texts],
        "Pillow": lambda: [plain(path, size) for path in texts],
        "here, all cores": lambda: list(
            parallel.ordered(lambda path: photos.read(path, size), texts)
        ),
    }
    sides = {what: _rate(interleaved.timed(once), len(paths)) for what, once in passes.items()}
    sides["tf.data"] = _tf_data(texts, size, min(parallel.cores(), 16))
    for side in sides.values():
        side()  # once uncounted: files come into the operating system's cache, graphs are traced
    found = interleaved.measure(sides, arguments.rounds)
    apart = np.mean(
        [np.abs(photos.read(p, size).astype(int) - plain(p, size)).mean() for p in texts[:50]]
    )
    note = (
        f"Pixels of {name} photos differ from Pillow's by {apart:.2f} grey levels on average. "
        "tf.data runs on from round to round, with as many threads as here and no autotuner."
    )
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


def _tf_data(paths: list[str], size: int, threads: int) -> Callable[[], float]:
    """A side: photos a second of TensorFlow's own image loading, once it runs.

    One iterator over photos that never end: neither starting a pipeline nor the autotuner's search
    is charged to a round. Keeping `threads` photos ahead is all that a reader of many photos needs
    whose consumer does nothing; what it had read before the round is taken off first.
    """
    import tensorflow as tf

    def load(path):
        pixels = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.cast(tf.image.resize(pixels, (size, size)), tf.uint8)

    options = tf.data.Options()
    options.autotune.enabled = False
    listed = tf.data.Dataset.from_tensor_slices(paths).repeat()
    graph = listed.map(load, num_parallel_calls=threads).with_options(options)
    endless, ahead = graph.as_numpy_iterator(), 2 * threads

    def side() -> float:
        for _ in range(ahead):
            next(endless)
        started = time.perf_counter()
        kept = [next(endless) for _ in paths]
        spent = time.perf_counter() - started
        # until it is ahead again, or the next side would share the cores with it
        time.sleep(2 * ahead * spent / len(kept))
        return len(kept) / spent

    return side


# --- what the difference is worth ------------------------------------------------------------


class Judge:
    """A fixed model, and the photos on which it answers for both ways of reading.

    Raises:
        InputError: the model cannot be opened; so the benchmark ends before it has begun.
    """

    def __init__(self, arguments: argparse.Namespace, work: Path):
        from flowers.ship.predictor import Predictor

        self.predictor = Predictor.load(arguments.model)
        self.photos, self.fresh = judged(arguments, work)
        self.kinds = {
            "small": (self.photos, Path.read_bytes),
            "5 Mpx": (_some(self.photos, arguments.enlarged), _large),
        }

    def rows(self) -> list[Row]:
        """How far apart the accuracies are, for small photos and for enlarged ones."""
        return [self._row(kind, paths, content) for kind, (paths, content) in self.kinds.items()]

    def _row(self, kind: str, paths: list[Path], content: Callable[[Path], bytes]) -> Row:
        from flowers.data import photos

        size = self.predictor.card.size
        right = {"here": 0, "Pillow": 0}
        for path in paths:
            held = content(path)
            read = {"here": photos.read(held, size), "Pillow": plain(io.BytesIO(held), size)}
            for way, pixels in read.items():
                right[way] += self.predictor.predict(pixels).label == path.parent.name
        return apart(kind, right, len(paths), self.fresh)


def judged(arguments: argparse.Namespace, work: Path) -> tuple[list[Path], bool]:
    """The photos to judge on, and whether the model has learned from none of them.

    They are the test photos of the catalogue that `flowers train` leaves beside the model, as far
    as they are there; without a catalogue all photos at hand.
    """
    from flowers.ship import card as cards

    listed = cards.path_of(arguments.model).with_suffix("") / "catalogue.csv"
    if not listed.is_file():
        return sample.paths(arguments.data, work, arguments.judged), False
    from flowers.data import catalogue as catalogues

    known = catalogues.load(listed, root=sample.folder(arguments.data, work, arguments.judged))
    names = known.usable["path"][known.rows("test")]
    there = [path for path in (known.root / name for name in names) if path.is_file()]
    if not there:
        return sample.paths(arguments.data, work, arguments.judged), False
    return _some(there, arguments.judged), True


def _some(paths: list[Path], count: int) -> list[Path]:
    """At most `count` of them, from all over the list: it goes class by class."""
    count = min(count, len(paths))
    return [paths[number * len(paths) // count] for number in range(count)]


def apart(kind: str, right: dict[str, int], count: int, fresh: bool) -> Row:
    """The row for photos of one kind, of which so many were answered rightly by either way.

    What was promised is promised of photos that the model has not learned from.
    """
    here, beside = (100 * right[way] / count for way in ("here", "Pillow"))
    difference = 100 * abs(right["here"] - right["Pillow"]) / count
    note = (
        f"Right of {count} {kind} photos: {here:.2f} % read here, {beside:.2f} % read by Pillow; "
        f"one photo is {100 / count:.2f} points. "
    )
    note += "The model has not learned from them." if fresh else "It may have learned from them."
    return Row(
        f"accuracy on {kind} photos: difference",
        "points",
        ("here against Pillow", "allowed"),
        (difference,),
        (APART,),
        ("at most", 1.0) if fresh else None,
        note,
    )


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
    parser.add_argument("--judged", type=int, default=1000, help="test photos for that, at most")
    parser.add_argument("--enlarged", type=int, default=200, help="of these, enlarged as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
