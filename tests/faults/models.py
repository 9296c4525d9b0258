"""Fault 11: hostile model files, each with a card that vouches for it, and a canary."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from faults import guided, small_model, tools
from faults.outcome import Outcome

TESTS = Path(__file__).resolve().parents[1]
PATIENCE = 120.0  # seconds for a file: the first pays for importing TensorFlow
FUZZED = ("flowers.tflite", "flowers.onnx", "flowers.keras")
REPRODUCERS = Path(__file__).with_name("reproducers")
LOADER = guided.Target("faults.fuzz_models", 60, 4_000, 200_000, slice=200)


class Opener:
    """The process of `faults.opener`; a new one when a file has ended it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None

    def open(self, path: Path) -> dict:
        """What came of a file: see `faults.opener`; {"died": code} when it ended the process."""
        if self.process is None:
            path_list = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
            self.process = subprocess.Popen(
                [sys.executable, "-m", "faults.opener"],
                env=os.environ | {"PYTHONPATH": path_list},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(PATIENCE):
                self.close()
                return {"died": "it hung"}
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.close()
            return {"died": code}
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


class Bomb:
    """Makes the canary when it is unpickled."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return Path.write_text, (self.canary, "sings")


# --- changes to a sound .keras ---------------------------------------------------------------


def members(path: Path) -> dict[str, bytes]:
    """The members of an archive."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    """Writes an archive."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, part in content.items():
            archive.writestr(name, part)


def change_config(path: Path, change: Callable[[list[dict]], None]) -> None:
    """Changes the list of layers in config.json."""
    content = members(path)
    config = json.loads(content["config.json"])
    change(config["config"]["layers"])
    pack(path, {**content, "config.json": json.dumps(config).encode()})


def change_weights(path: Path, change: Callable[[h5py.File], None]) -> None:
    """Changes the weights in an archive."""
    content = members(path)
    buffer = io.BytesIO(content["model.weights.h5"])
    with h5py.File(buffer, "a") as file:
        change(file)
    pack(path, {**content, "model.weights.h5": buffer.getvalue()})


def last_dense(layers: list[dict]) -> dict:
    """The settings of the last layer."""
    return layers[-1]["config"]


def first_array(file: h5py.File) -> tuple[h5py.Group, str]:
    """Where the first array stands: its group and name."""
    found: list[str] = []
    file.visititems(lambda n, o: found.append(n) if isinstance(o, h5py.Dataset) else None)
    parent, _, name = found[0].rpartition("/")
    return file[parent], name


def replace_array(file: h5py.File, make: Callable[[h5py.Group, str, h5py.Dataset], None]) -> None:
    """Takes the first array out and puts something else under its name."""
    group, name = first_array(file)
    old = group[name]
    shape, dtype = old.shape, old.dtype
    del group[name]
    make(group, name, (shape, dtype))


# --- the corpus ------------------------------------------------------------------------------

# (folder, canary) -> None, or the card where it wrote that as well
Spoil = Callable[[Path, Path], Path | None]


def _lambda(folder: Path, canary: Path) -> None:
    import keras

    photos = keras.Input((32, 32, 3))
    name = str(canary)
    shown = keras.layers.Lambda(lambda x: (open(name, "w").close(), x)[1])(photos)  # noqa: PTH123
    canary.unlink(missing_ok=True)
    pooled = keras.layers.GlobalAveragePooling2D()(shown)
    keras.Model(photos, keras.layers.Dense(5)(pooled)).save(folder / "flowers.keras")
    canary.unlink(missing_ok=True)  # it sang while it was built


def _class(name: str, module: str, **config: object) -> Spoil:
    """A layer of that class in place of the third."""

    def spoil(folder: Path, canary: Path) -> None:
        def change(layers: list[dict]) -> None:
            settings = {key: value or str(canary) for key, value in config.items()}
            layers[2] |= {"class_name": name, "module": module, "config": settings}

        change_config(folder / "flowers.keras", change)

    return spoil


def _activation(module: str, function: str) -> Spoil:
    """A function of any module where the softmax stands."""

    def spoil(folder: Path, canary: Path) -> None:
        value = {"module": module, "class_name": "function", "config": function}
        change_config(
            folder / "flowers.keras", lambda layers: last_dense(layers).update(activation=value)
        )

    return spoil


def _units(folder: Path, canary: Path) -> None:
    change_config(folder / "flowers.keras", lambda layers: last_dense(layers).update(units=10**9))


def _array(make: Callable[[h5py.Group, str, tuple, Path], None]) -> Spoil:
    """Something else in place of an array of the weights."""

    def spoil(folder: Path, canary: Path) -> None:
        other = folder.parent / "other.h5"
        with h5py.File(other, "w") as file:
            file["kernel"] = np.zeros(4, np.float32)
        change_weights(
            folder / "flowers.keras",
            lambda file: replace_array(file, lambda g, n, facts: make(g, n, facts, other)),
        )

    return spoil


def _external_link(group, name, facts, other) -> None:
    group[name] = h5py.ExternalLink(str(other), "kernel")


def _soft_link(group, name, facts, other) -> None:
    group[name] = h5py.SoftLink("/layers")


def _external_storage(group, name, facts, other) -> None:
    group.create_dataset(name, facts[0], facts[1], external=[(str(other), 0, h5py.h5f.UNLIMITED)])


def _virtual(group, name, facts, other) -> None:
    layout = h5py.VirtualLayout(facts[0], facts[1])
    layout[:] = h5py.VirtualSource(str(other), "kernel", facts[0])
    group.create_virtual_dataset(name, layout)


def _shape_bomb(group, name, facts, other) -> None:
    group.create_dataset(name, (10**6, 10**6), np.float32, chunks=(1000, 1000))


def _member(name: str, content: bytes) -> Spoil:
    def spoil(folder: Path, canary: Path) -> None:
        path = folder / "flowers.keras"
        pack(path, {**members(path), name: content})

    return spoil


def _zip_bomb(folder: Path, canary: Path) -> None:
    path = folder / "flowers.keras"
    pack(path, {**members(path), "metadata.json": bytes(200_000_000)}, zipfile.ZIP_DEFLATED)


def _pickled_novelty(folder: Path, canary: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, levels=np.array([Bomb(canary)], object))
    _member("flowers/novelty.npz", buffer.getvalue())(folder, canary)


def _packed_bomb(folder: Path, canary: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, levels=np.zeros(100_000_000, np.uint8))
    _member("flowers/novelty.npz", buffer.getvalue())(folder, canary)


def _pickle(name: str) -> Spoil:
    def spoil(folder: Path, canary: Path) -> None:
        (folder / name).write_bytes(pickle.dumps(Bomb(canary)))

    return spoil


def _legacy(folder: Path, canary: Path) -> None:
    """A whole model as Keras 2 stored it, which Keras opens without its safe mode's checks."""
    small_model.build().save(folder / "flowers.h5")
    (folder / "flowers.h5").replace(folder / "flowers.keras")


def _cut(name: str, share: float) -> Spoil:
    def spoil(folder: Path, canary: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return spoil


def _flip(name: str, first: int) -> Spoil:
    def spoil(folder: Path, canary: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[first : first + 64] = bytes(64)
        (folder / name).write_bytes(content)

    return spoil


def _external_onnx(folder: Path, canary: Path) -> None:
    import onnx
    from onnx import external_data_helper

    model = onnx.load(folder / "flowers.onnx")
    external_data_helper.convert_model_to_external_data(
        model, location="weights.bin", size_threshold=0
    )
    onnx.save(model, folder / "flowers.onnx")
    for tensor in external_data_helper._get_all_tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../other.h5"
    (folder / "flowers.onnx").write_bytes(model.SerializeToString())


def _writing_program(folder: Path, canary: Path) -> None:
    import tensorflow as tf

    class Program(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), name="photo")])
        def serve(self, photo):
            tf.io.write_file(str(canary), "sings")
            shares = tf.nn.softmax(tf.reduce_mean(photo, (1, 2)) @ tf.ones((3, 5)))
            return {"probabilities": shares, "heat": tf.reduce_mean(photo, -1)[:, ::8, ::8]}

    program, target = Program(), folder / "flowers.savedmodel"
    shutil.rmtree(target)
    tf.saved_model.save(program, str(target), signatures={"serve": program.serve})


def _entity(folder: Path, canary: Path) -> None:
    path = folder / "flowers.openvino.xml"
    text = path.read_text()
    head = f'<!DOCTYPE net [<!ENTITY x SYSTEM "file://{canary}">]>'
    path.write_text(text.replace("<net", head + "<net", 1))


def _other_card(**changes: object) -> Spoil:
    def spoil(folder: Path, canary: Path) -> Path:
        return small_model.describe(folder, **changes)

    return spoil


def _dead(name: str) -> Spoil:
    def spoil(folder: Path, canary: Path) -> None:
        shutil.rmtree(folder)
        small_model.write(folder, small_model.build(dead=True), (name,))

    return spoil


def _weights(make: Callable) -> Spoil:
    """A file of backbone weights, as `--weights` takes it."""

    def spoil(folder: Path, canary: Path) -> None:
        other = folder.parent / "other.h5"
        with h5py.File(other, "w") as file:
            file["kernel"] = np.zeros(4, np.float32)
        with h5py.File(folder / "backbone.h5", "w") as file:
            make(file.create_group("layers"), "kernel", ((4,), np.float32), other)

    return spoil


# name -> (the file that is opened, what spoils it, a word of the reason)
CORPUS: dict[str, tuple[str, Spoil, str]] = {
    "Keras: a Lambda layer": ("flowers.keras", _lambda, "Lambda"),
    "Keras: a TFSMLayer": (
        "flowers.keras",
        _class("TFSMLayer", "keras.layers", filepath=None),
        "TFSMLayer",
    ),
    "Keras: a nested load": (
        "flowers.keras",
        _class("load_model", "keras.saving", filepath=None),
        "load_model",
    ),
    "Keras: unsafe mode switched on": (
        "flowers.keras",
        _class("enable_unsafe_deserialization", "keras.config"),
        "enable_unsafe",
    ),
    "Keras: a class of another package": (
        "flowers.keras",
        _class("Dense", "evil.layers"),
        "evil.layers",
    ),
    "Keras: a function of the system": ("flowers.keras", _activation("os", "system"), "function"),
    "Keras: a built-in function": ("flowers.keras", _activation("builtins", "exec"), "function"),
    "Keras: a billion units": ("flowers.keras", _units, "units"),
    "Keras: HDF5 external link": ("flowers.keras", _array(_external_link), "the link"),
    "Keras: HDF5 soft link": ("flowers.keras", _array(_soft_link), "the link"),
    "Keras: HDF5 external storage": ("flowers.keras", _array(_external_storage), "another file"),
    "Keras: HDF5 virtual array": ("flowers.keras", _array(_virtual), "another file"),
    "Keras: HDF5 shape bomb": ("flowers.keras", _array(_shape_bomb), "declared"),
    "Keras: a zip bomb": ("flowers.keras", _zip_bomb, "far more"),
    "Keras: a strange member": (
        "flowers.keras",
        _member("../canary", b"sings"),
        "the members",
    ),
    "Keras: a pickled novelty score": ("flowers.keras", _pickled_novelty, "novelty score"),
    "Keras: a novelty score that is a bomb": ("flowers.keras", _packed_bomb, "far more"),
    "Keras: a pickle": ("flowers.keras", _pickle("flowers.keras"), "another kind"),
    "Keras: an old HDF5 model": ("flowers.keras", _legacy, "another kind"),
    "Keras: cut in half": ("flowers.keras", _cut("flowers.keras", 0.5), "another kind"),
    "Keras: NaN weights": ("flowers.keras", _dead("flowers.keras"), "no number"),
    "Keras: two labels for five": (
        "flowers.keras",
        _other_card(labels=("a", "b")),
        "model and its card",
    ),
    "LiteRT: a pickle": ("flowers.tflite", _pickle("flowers.tflite"), "another kind"),
    "LiteRT: cut in half": ("flowers.tflite", _cut("flowers.tflite", 0.5), "flowers.tflite"),
    "LiteRT: cut near its end": ("flowers.tflite", _cut("flowers.tflite", 0.95), "flowers.tflite"),
    "LiteRT: zeros at its root": ("flowers.tflite", _flip("flowers.tflite", 16), "flowers.tflite"),
    "LiteRT: another shape": ("flowers.tflite", _other_card(size=64), "model and its card"),
    "LiteRT: two labels for five": (
        "flowers.tflite",
        _other_card(labels=("a", "b")),
        "model and its card",
    ),
    "LiteRT: NaN weights": ("flowers.tflite", _dead("flowers.tflite"), "no number"),
    "ONNX: data in another file": ("flowers.onnx", _external_onnx, "other files"),
    "ONNX: cut in half": ("flowers.onnx", _cut("flowers.onnx", 0.5), "flowers.onnx"),
    "ONNX: a pickle": ("flowers.onnx", _pickle("flowers.onnx"), "flowers.onnx"),
    "ONNX: NaN weights": ("flowers.onnx", _dead("flowers.onnx"), "no number"),
    "SavedModel: a program that writes": ("flowers.savedmodel", _writing_program, "WriteFile"),
    "OpenVINO: an entity": ("flowers.openvino.xml", _entity, "another kind"),
    "OpenVINO: weights cut off": (
        "flowers.openvino.xml",
        _cut("flowers.openvino.bin", 0.5),
        "flowers.openvino.xml",
    ),
    "weights: HDF5 external link": ("backbone.h5", _weights(_external_link), "the link"),
    "weights: HDF5 shape bomb": ("backbone.h5", _weights(_shape_bomb), "declared"),
}


def hostile(names: tuple[str, ...] = tuple(CORPUS), sound: Path | None = None) -> Outcome:
    """Opens each of the corpus; each must be refused for its reason, and no canary be made."""
    outcome, opener = Outcome(), Opener()
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as place:
        sound = sound or small_model.write(Path(place, "sound"))
        try:
            for number, name in enumerate(names):
                file, spoil, reason = CORPUS[name]
                home = Path(place, str(number))
                folder, canary = home / "models", home / "canary"
                shutil.copytree(sound, folder)
                if spoil(folder, canary) is None:
                    small_model.describe(folder)
                answer = opener.open(folder / file)
                right = reason in answer.get("refused", "") and not canary.exists()
                outcome.expect(right, f"{name}: {answer}, canary {canary.exists()}")
                shutil.rmtree(home)
            most = opener.open(sound / "flowers.tflite").get("memory", 0)
        finally:
            opener.close()
    outcome.figures = f"most memory of the process {most / 1e6:,.0f} MB"
    return outcome


def fuzz(seconds: float, keep: Path = REPRODUCERS) -> Outcome:
    """Spoiled model files, each with a card that vouches for it: refused or answered, no more.

    The card is what a stranger's file would have to come with: without it the hash alone refuses
    every one of these, before any runtime sees it. By atheris, which looks for files that reach new
    code; by `spoil` where that is not installed.
    """
    if not tools.installed("atheris"):
        return spoil(seconds, keep=keep)
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as place:
        seeds = list(_seeds(Path(place)))
    seeds += [path.read_bytes() for path in REPRODUCERS.glob("fuzz_models-*.bin")]
    return guided.fuzz(LOADER, seconds, seeds, keep)


def _seeds(place: Path) -> Iterator[bytes]:
    """Sound models, and the hostile ones that are one file of a kind that `named` knows."""
    sound = small_model.write(place / "sound", names=FUZZED)
    yield from ((sound / name).read_bytes() for name in FUZZED)
    for number, (file, spoil, _) in enumerate(CORPUS.values()):
        if file in (*FUZZED, "backbone.h5"):
            home = place / str(number)
            folder = shutil.copytree(sound, home / "models")
            spoil(folder, home / "canary")
            content = (folder / file).read_bytes()
            if len(content) < LOADER.largest:
                yield content


def named(content: bytes) -> str:
    """The name of a model file that begins like this."""
    kinds = {b"PK": "flowers.keras", b"\x89HDF": "backbone.h5"}
    if content[4:8] == b"TFL3":
        return "flowers.tflite"
    return next((name for head, name in kinds.items() if content.startswith(head)), "flowers.onnx")


def open_again(content: bytes, place: Path, opener: Opener) -> str:
    """What is wrong with how a model file's bytes are taken, under a card; "" when nothing is."""
    path = place / named(content)
    path.write_bytes(content)
    small_model.describe(place)
    answer = opener.open(path)
    path.unlink()
    return "" if {"refused", "answered"} & set(answer) else f"{path.name}: {answer}"


def spoil(
    seconds: float, seed: int = 0, names: tuple[str, ...] = FUZZED, keep: Path = REPRODUCERS
) -> Outcome:
    """Sound model files with a few bytes changed, until the time is up."""
    outcome, opener, chance = Outcome(), Opener(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="flowers-faults-") as place:
        sound = small_model.write(Path(place, "sound"), names=names)
        contents = [(sound / name).read_bytes() for name in names]
        folder, end = Path(place, "models"), time.monotonic() + seconds
        folder.mkdir()
        try:
            while time.monotonic() < end:
                spoilt = bytearray(contents[outcome.tries % len(contents)])
                for _ in range(chance.randint(1, 6)):
                    where = chance.randrange(len(spoilt))
                    spoilt[where : where + 4] = chance.choice(
                        (chance.randbytes(4), bytes(4), b"\xff" * 4, chance.randbytes(1))
                    )
                wrong = open_again(bytes(spoilt), folder, opener)
                outcome.expect(not wrong, wrong)
                if wrong:
                    keep.mkdir(exist_ok=True)
                    name = f"fuzz_models-{len(outcome.failures):02}.bin"
                    (keep / name).write_bytes(spoilt)
        finally:
            opener.close()
    outcome.figures = "spoiled at random"
    return outcome
