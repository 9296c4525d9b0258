"""A GPU used to its limit, beside what else a user would run on it. On a CPU it runs as a toy.

    KERAS_BACKEND=jax python benchmarks/gpu.py steps --photos flowers.npz
    KERAS_BACKEND=jax python benchmarks/gpu.py phases --photos flowers.npz --weights FILE
    KERAS_BACKEND=jax python benchmarks/gpu.py cifar --photos cifar10.npz

The backend may be jax, tensorflow or torch; nothing else is needed but Keras, NumPy and this
repository. decoded.py makes the .npz (photos uint8 [N, S, S, 3], labels int [N], split [N]), and
`--photos` also takes a .npy of photos alone; without it photos are painted as noise.

`steps`: full fine-tuning of ResNet50 at 224. Ours: bfloat16, uint8 photos kept on the device,
augmentation there, compiled steps. Beside it stock Keras: the same model in float32 fed by `fit`
from a Python data set; and, where PyTorch is, a plain loop of it: autocast, channels last,
compiled, photos on the device. BatchNorm is held in all three.

The bound by memory bandwidth counts what must cross the memory if every elementwise operation
were fused: a convolution reads and writes its input and output three times each (forward; the
gradient to its input; the gradient to its weights), a sum and a pooling once forward and once
back, all in two bytes; a parameter costs 36 bytes a step (two reads in bfloat16, its gradient
written and read, AdamW's three values read and written). The bandwidth is measured by adding 1 to
a large array.

Beside the same step on noise nothing is asked unless a file of real photos was named.

`phases`: from decoded photos to the final model, head, last stage, everything; time and accuracy.
`cifar`: ResNet-20 for 200 epochs on CIFAR-10 as in the paper; time and accuracy.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # PyTorch needs some of it as well
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import interleaved
import keras
import numpy as np
import phases
from interleaved import Row
from keras import ops
from on_device import Kept, around, compiled

from flowers.model import classifier as classifiers
from flowers.train import device

PARAMETER_BYTES = 36  # a step; see above
MOVING = (  # layers that cannot be fused into the one before
    *(keras.layers.Conv2D, keras.layers.Add, keras.layers.MaxPooling2D),
    keras.layers.GlobalAveragePooling2D,
)
RATE = 5e-5
TOY = {"size": 32, "count": 80, "batch": 8, "backbone": "miniature", "epochs": 1, "photos": None}


def main() -> None:
    """Runs one job and prints a table."""
    arguments = _arguments()
    machine = device.find(arguments.precision)
    if arguments.toy or not machine.gpu:
        interleaved.say(f"{machine.name}: toy size")
        for name, value in TOY.items():
            setattr(arguments, name, value)
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, {machine.name}\n")
    photos, labels, split = data(arguments)
    if arguments.job == "steps":
        rows = steps(photos, labels, machine, arguments)
    else:
        rows = phases.run(photos, labels, split, machine, arguments)
    interleaved.finish(rows, arguments)


def data(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Photos, labels, and the part each belongs to; painted where no file is named."""
    random = np.random.default_rng(0)
    size, count = arguments.size, arguments.count
    if arguments.photos is None:
        labels = random.integers(0, arguments.classes, count)
        photos = random.integers(0, 128, (count, size, size, 3), np.uint8)
        photos += (labels * 127 // arguments.classes).astype(np.uint8)[:, None, None, None]
    elif arguments.photos.suffix == ".npz":
        with np.load(arguments.photos) as held:
            return held["photos"], held["labels"].astype(np.int64), held["split"].astype(str)
    else:
        photos = np.load(arguments.photos)
        labels = random.integers(0, arguments.classes, len(photos))
    parts = np.array(["train"] * 7 + ["validation", "test", "test"])
    return photos, labels, parts[np.arange(len(photos)) % len(parts)]


# --- steps -----------------------------------------------------------------------------------


def steps(photos, labels, machine: device.Device, arguments: argparse.Namespace) -> list[Row]:
    """Images a second of each way to fine-tune the whole network."""
    noise = np.random.default_rng(1).integers(0, 256, photos.shape, np.uint8)
    built, model = ours(photos, labels, machine, arguments)
    sides = {
        "ours": _epoch(model, labels, arguments),
        "ours, noise": _epoch(ours(noise, labels, machine, arguments)[1], labels, arguments),
        "stock": stock(photos, labels, arguments),
    }
    if importlib.util.find_spec("torch"):
        sides["torch"] = plain_torch(photos, labels, machine, arguments)
    for name, side in sides.items():
        interleaved.say(f"{name}: first round, in which it is compiled: {side():.1f} /s")
    found = interleaved.measure(sides, arguments.rounds)
    counted, bandwidth = traffic(built.model, arguments.batch), measured_bandwidth(machine.gpu)
    bound = bandwidth / counted
    print(
        f"{counted / 1e6:.1f} MB a photo must cross the memory, which carries "
        f"{bandwidth / 1e9:,.0f} GB a second: at most {bound:,.0f} photos a second.\n"
    )
    return compared(found, bound, machine.gpu and not arguments.toy, arguments)


def compared(found, bound: float, promised: bool, arguments: argparse.Namespace) -> list[Row]:
    """A row for each other way, and for the bound; promised: False for a toy."""
    what = f"full fine-tuning, batch {arguments.batch}{'' if promised else ', toy'}"
    name, note = f"ours on {keras.backend.backend()}", f"Photos: {shown(arguments.photos)}."

    def row(other: str, values: tuple[float, ...], target: tuple[str, float] | None) -> Row:
        told = target if promised else None
        return Row(what, "/s", (name, other), found["ours"], values, told, note)

    rows = [row("Keras' fit, float32, Python data set", found["stock"], ("at least", 2.5))]
    if "torch" in found:
        rows.append(row("PyTorch, autocast, compiled", found["torch"], ("at least", 0.9)))
    rows.append(row("the bound by memory bandwidth", (bound,), None))
    # painted photos are noise themselves: beside noise they show nothing
    asked = ("at least", 0.97) if arguments.photos else None
    rows.append(row("the same on noise", found["ours, noise"], asked))
    return rows


def shown(photos: Path | None) -> str:
    """What was trained on, in words."""
    return photos.name if photos else "painted, no real ones"


def ours(photos, labels, machine: device.Device, arguments: argparse.Namespace):
    """The classifier, and a model around it from photo numbers to probabilities."""
    built = classifiers.build(
        int(labels.max()) + 1,
        size=photos.shape[1],
        backbone=arguments.backbone,
        precision=machine.precision,
    )
    inner = built.tail("all")
    model = around(inner, Kept(photos, dtype=machine.precision), zoom=0.3, light=0.2)
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=1e-4)
    compiled(model, optimizer, machine.gpu and not arguments.eager, arguments.together)
    return built, model


def _epoch(model, labels: np.ndarray, arguments: argparse.Namespace):
    """A side: trains one epoch from photo numbers, gives photos a second."""
    numbers = np.arange(len(labels), dtype=np.int32)
    whole = len(numbers) // arguments.batch * arguments.batch  # one shape, compiled once

    def side() -> float:
        started = time.perf_counter()
        model.fit(numbers[:whole], labels[:whole], batch_size=arguments.batch, epochs=1, verbose=0)
        return whole / (time.perf_counter() - started)

    return side


class Photos(keras.utils.PyDataset):
    """What tutorials feed `fit` with: float32 photos and labels, mirrored at random."""

    def __init__(self, photos: np.ndarray, labels: np.ndarray, batch: int):
        super().__init__()
        self.photos, self.labels, self.batch = photos, labels, batch
        self.random = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.photos) // self.batch

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = slice(number * self.batch, (number + 1) * self.batch)
        photos = self.photos[chosen].astype(np.float32)
        mirrored = self.random.random(len(photos)) < 0.5
        photos[mirrored] = photos[mirrored, :, ::-1]
        return photos, self.labels[chosen]


def stock(photos, labels, arguments: argparse.Namespace):
    """A side: the same network in float32, as Keras compiles it by itself."""
    built = classifiers.build(
        int(labels.max()) + 1, size=photos.shape[1], backbone=arguments.backbone
    )
    model, dataset = built.tail("all"), Photos(photos, labels, arguments.batch)
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.AdamW(RATE), loss, metrics=["accuracy"])

    def side() -> float:
        started = time.perf_counter()
        model.fit(dataset, epochs=1, verbose=0)
        return len(dataset) * arguments.batch / (time.perf_counter() - started)

    return side


def plain_torch(photos, labels, machine: device.Device, arguments: argparse.Namespace):
    """A side: a plain PyTorch loop on the same device; photos lie there, mirrored in each step."""
    import torch
    import torch_resnet

    place = "cuda" if torch.cuda.is_available() else "cpu"
    model = torch_resnet.ResNet50(int(labels.max()) + 1).hold_statistics()
    model = model.to(place, memory_format=torch.channels_last)
    run = torch.compile(model) if place == "cuda" else model
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, RATE, weight_decay=1e-4, fused=place == "cuda")
    held = torch.from_numpy(photos).to(place)  # [N, S, S, 3]: channels last once permuted
    truth = torch.from_numpy(labels).to(place)
    whole = len(labels) // arguments.batch * arguments.batch

    def side() -> float:
        order = torch.randperm(len(labels), device=place)[:whole]
        started = time.perf_counter()
        for chosen in order.split(arguments.batch):
            batch = held[chosen].permute(0, 3, 1, 2).float()
            mirrored = torch.rand(len(chosen), 1, 1, 1, device=place) < 0.5
            batch = torch.where(mirrored, batch.flip(3), batch)
            with torch.autocast(place, torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(run(batch), truth[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        loss.item()  # waits for the device
        return whole / (time.perf_counter() - started)

    return side


# --- the bound -------------------------------------------------------------------------------


def traffic(model, batch: int) -> float:
    """Bytes a photo that a training step must move; see the top of this file."""
    values = 0
    for layer in model.layers:
        if not isinstance(layer, MOVING):
            continue
        entering = keras.tree.flatten(layer.input)
        read = [int(np.prod(one.shape[1:])) for one in entering]
        written = int(np.prod(layer.output.shape[1:]))
        if isinstance(layer, keras.layers.Conv2D):
            first = entering[0].shape[-1] == 3  # nothing learns before it: no gradient to its input
            values += (2 if first else 3) * read[0] + 3 * written
        elif isinstance(layer, keras.layers.Add):
            values += 2 * written  # the shortcut, read forward, and its gradient added back
        else:
            values += 2 * read[0] + 2 * written
    return 2 * values + PARAMETER_BYTES * model.count_params() / batch


def measured_bandwidth(gpu: bool) -> float:
    """Bytes a second, read and written, of adding 1 to a large array."""
    count = 2**29 if gpu else 2**24
    array = ops.zeros((count,), "float32")

    def once() -> float:
        started = time.perf_counter()
        for _ in range(10):
            changed = ops.add(array, 1.0)
        ops.convert_to_numpy(changed[:1])  # waits for the device
        return 10 * 2 * 4 * count / (time.perf_counter() - started)

    return max(once() for _ in range(5))


def _arguments() -> argparse.Namespace:
    parser = interleaved.parser(__doc__, rounds=3)
    parser.add_argument("job", choices=("steps", "phases", "cifar"))
    parser.add_argument("--photos", type=Path, help="a .npz or .npy of decoded photos")
    parser.add_argument("--weights", type=Path, help="of ResNet50 without its top, for `phases`")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=224, help="px, of painted photos")
    parser.add_argument("--count", type=int, default=4096, help="painted photos")
    parser.add_argument("--classes", type=int, default=5, help="where labels are not known")
    parser.add_argument("--epochs", type=int, help="of each phase; the recipe's when left out")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--together", type=int, default=1, help="steps that run as one")
    parser.add_argument("--eager", action="store_true", help="do not compile the step whole")
    parser.add_argument("--toy", action="store_true", help="at toy size, also on a GPU")
    return parser.parse_args()


if __name__ == "__main__":
    main()
