"""Trains a miniature network on one device and on several, and prints what came of it as JSON.

    python replicated.py FOLDER COUNT...              # in this process: one run a number of devices
    python replicated.py FOLDER HOST:PORT PROCESSES PROCESS

A script, because the number of devices stands before a backend is imported.
"""

import contextlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
VIRTUAL = 2
os.environ["XLA_FLAGS"] = (
    f"--xla_force_host_platform_device_count={1 if ':' in sys.argv[2] else VIRTUAL}"
)

import keras  # noqa: E402
import numpy as np  # noqa: E402

from flowers.config import Config, Phase  # noqa: E402
from flowers.errors import FlowersError  # noqa: E402
from flowers.model import classifier as classifiers  # noqa: E402
from flowers.train import checkpoint, device, features, hosts, training  # noqa: E402
from flowers.train.hosts import Hosts  # noqa: E402
from flowers.train.inputs import Inputs  # noqa: E402
from flowers.train.replicas import ONE  # noqa: E402
from flowers.train.training import Samples  # noqa: E402

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    import jax

features.SHARD = 16  # more files than devices
ROOM = 44  # photos whose features are kept, rounded down to whole files; the others' are streamed
# Of 43 photos in batches of 16 the last has 11, which two devices cannot share.
FROZEN = Config.tiny(
    phases=(Phase("last stage", thaw="stage", epochs=2, rate=1e-3, batch=16),),
    dropout=0.3,
    views=1,
)
SCRATCH = Config.tiny(
    phases=(Phase("from scratch", thaw="scratch", epochs=1, rate=0.01, batch=16, optimizer="sgd"),),
    head=(),
    augmentation="crop",
    views=1,
    weight_decay=1e-3,
)


def photos():
    """60 photos of 32 px, noise with a tint; the first class has twice as many as the others."""
    random = np.random.default_rng(3)
    labels = np.array([0, 1, 2, 0])[np.arange(60) % 4]
    pixels = random.integers(0, 150, (60, 32, 32, 3))
    for photo, label in zip(pixels, labels, strict=True):
        photo[..., label] += 60
    return pixels.astype(np.uint8), labels


def run(config, folder, replicas):
    """Losses and accuracies of every epoch, the weights, what this process wrote and read, and
    which devices had a part in it."""
    pixels, labels = photos()
    built = classifiers.build(
        3, size=32, backbone="miniature", head=config.head, dropout=config.dropout, seed=0
    )
    train, saves, shards, read, filling, parts = np.arange(43), [], [], [], [], []
    row = features.row_bytes(built.watched("stage"))
    inputs = Inputs(
        *(built, pixels, "pixels", train, train, config, folder, lambda line: None),
        room=ROOM * row,
        replicas=replicas,
    )
    with (
        Watching(checkpoint, "save", saves),
        Watching(features, "_write", shards),
        Watching(features, "_fill", filling, lambda trunk, *_: where(trunk.weights[0].value)),
        parted(replicas, parts) as replicas,
    ):
        samples = Samples(labels, train, np.arange(43, 56), 3)

        def feed(phase):
            found = inputs.feed(phase)

            def reading(rows, views, epoch):
                read.append(len(rows))
                return found.read(rows, views, epoch)

            return replace(found, read=reading)

        saved = folder / f"{config.phases[0].thaw}.npz"
        rows = training.train(
            built, samples, config, feed, saved, lambda line: None, replicas=replicas
        )
    names = ("loss", "val_loss", "accuracy", "val_accuracy")
    return {
        "rows": [[row[name] for name in names] for row in rows],
        "weights": [float(np.abs(weight).sum()) for weight in built.model.get_weights()],
        "saves": len(saves),
        "shards": len(shards),
        "read": max(read),
        "filling": sorted(filling),
        "parts": sorted(set(parts)),
    }


def where(value):
    """On which device something lies."""
    return str(value.device)


@contextlib.contextmanager
def parted(replicas, parts):
    """The same devices; `parts` gets the number of each that takes a step (TensorFlow), or how
    many rows of a batch each gets (JAX)."""
    if keras.backend.backend() == "tensorflow":

        def index():
            found = replicas.index()
            parts.append(int(tf.get_static_value(found)))
            return found

        yield replace(replicas, index=replicas.index and index)
        return

    def rows(made):
        return made.sharding.shard_shape(made.shape)[0]

    with Watching(jax, "make_array_from_process_local_data", parts, after=rows):
        yield replicas


class Watching:
    """Notes the calls of a module's function: what `note` makes of its arguments, or `after` of
    its result."""

    def __init__(self, module, name, calls, note=lambda *_: 1, after=None):
        self.module, self.name, self.calls, self.was = module, name, calls, getattr(module, name)
        self.note, self.after = note, after

    def __enter__(self):
        def called(*arguments):
            result = self.was(*arguments)
            self.calls.append(self.after(result) if self.after else self.note(*arguments))
            return result

        setattr(self.module, self.name, called)

    def __exit__(self, *_):
        setattr(self.module, self.name, self.was)


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


def taken_over(folder, first, second):
    """What devices make of a run that was killed on others, after its first epoch."""
    write = checkpoint.save

    def killed(path, state):
        write(path, state)
        raise Killed

    checkpoint.save = killed
    try:
        run(FROZEN, folder, first)
    except Killed:
        checkpoint.save = write
    return run(FROZEN, folder, second)


def refused(function, *arguments):
    """What kind of error a call raises, and its words."""
    try:
        function(*arguments)
    except FlowersError as error:
        return [type(error).__name__, str(error)]
    return None


def here(folder, counts):
    """One run a number of devices, all in this process."""
    if keras.backend.backend() == "tensorflow":
        one = tf.config.LogicalDeviceConfiguration()
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [one] * VIRTUAL)
    found = {"too many": refused(device.several, VIRTUAL + 1)}
    for count in counts:
        replicas = device.several(None if count == "all" else int(count))
        found[count] = [
            run(config, folder / count, replicas) | {"devices": replicas.count}
            for config in (FROZEN, SCRATCH)
        ]
    order = (ONE, replicas) if keras.backend.backend() == "tensorflow" else (replicas, ONE)
    found["taken over"] = taken_over(folder / "taken", *order)
    return found


def across(folder, coordinator, processes, process):
    """One run of several processes, on one folder."""
    own, hosts.NETWORK_LAG = folder / f"own-{process}", 0.2
    replicas = device.several(1, Hosts(coordinator, processes, process), folder)
    found = {
        "own folder": refused(hosts.require_shared, processes, process, own),
        "differ": refused(hosts.agree, processes, str(process), "Start them alike."),
        "runs": [run(config, folder, replicas) for config in (FROZEN, SCRATCH)],
    }
    hosts.part(processes, lambda line: None)
    alone = classifiers.build(3, size=32, backbone="miniature", head=(), seed=0)
    found["alone"] = features.forward(alone.model, photos()[0][:4]).shape  # after the others left
    return found


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if ":" in sys.argv[2]:
        result = across(place, sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        result = here(place, sys.argv[2:])
    print(json.dumps(result))
