"""Every engine that can answer for a model: ours on each exported file, and the bare runtimes.

An engine answers about one photo and about many, from files. The bare runtimes read photos as most
programs do, with Pillow alone, and give probabilities.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCH = 32
DEFAULT = "flowers predict"  # what the command does where no model is named
OURS = {  # name: how the file ends; LiteRT in float32 is what the default opens
    DEFAULT: ".tflite",
    "flowers, .keras": ".keras",
    "flowers, SavedModel": ".savedmodel",
    "flowers, ONNX": ".onnx",
    "flowers, OpenVINO": ".openvino.xml",
    "flowers, int8": ".int8.tflite",
}
INT8 = "flowers, int8"
Answer = Callable[[np.ndarray], np.ndarray]  # [B, S, S, 3] -> probabilities [B, C]


def open_ours(name: str, model: Path) -> Callable[[list[str]], object]:
    """Our predictor on the export of `model` that `name` means: paths -> answers.

    It is opened as the command opens it: once for a photo, and anew for a folder.
    """
    from flowers.ship.predictor import Predictor

    @functools.cache
    def opened(count: int) -> Predictor:
        if name == DEFAULT:
            return Predictor.load_quickest(model, count=count)[0]
        return Predictor.load(model.with_name(model.stem + OURS[name]), count=count)

    def run(paths: list[str]) -> object:
        if len(paths) == 1:
            return opened(1).predict(paths[0])
        return [answer for _, answer in opened(BATCH).predict_many(paths)]

    return run


def open_bare(
    name: str, model: Path, size: int, weights: Path | None
) -> Callable[[list[str]], object]:
    """A bare runtime: paths -> probabilities. PyTorch alone takes the weights from a file."""
    answer = _torch(weights, name == TORCH[1]) if name in TORCH else RUNTIMES[name](model)

    def run(paths: list[str]) -> object:
        parts = [paths[top : top + BATCH] for top in range(0, len(paths), BATCH)]
        return [answer(np.stack([_plain(path, size) for path in part])) for part in parts]

    return run


def _plain(path: str, size: int) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size)))


def _keras_model(model: Path):
    from flowers.ship import bundle

    return bundle.read(model)


def _predict(model: Path) -> Answer:
    opened = _keras_model(model)
    return lambda batch: opened.predict(batch, verbose=0)


def _traced(model: Path) -> Answer:
    import tensorflow as tf

    opened = _keras_model(model)
    traced = tf.function(lambda batch: opened(batch, training=False), reduce_retracing=True)
    return lambda batch: traced(tf.constant(batch, tf.float32)).numpy()


def _onnx(model: Path) -> Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(model.with_suffix(".onnx")), options, providers=["CPUExecutionProvider"]
    )
    wanted = ["probabilities"]
    return lambda batch: session.run(wanted, {"photo": batch.astype(np.float32)})[0]


def _openvino(model: Path) -> Answer:
    from flowers.ship import runtimes

    core = runtimes.openvino_alone().Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(
        core.read_model(model.with_name(f"{model.stem}.openvino.xml")), "CPU", settings
    )
    return lambda batch: compiled({"photo": batch.astype(np.float32)})["probabilities"]


def _litert(model: Path) -> Answer:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model.with_suffix(".tflite")), num_threads=os.cpu_count())
    runner = interpreter.get_signature_runner()

    def answer(batch: np.ndarray) -> np.ndarray:
        rows = [
            runner(photo=photo[None].astype(np.float32))["probabilities"].copy() for photo in batch
        ]
        return np.concatenate(rows)

    return answer


def _torch(weights_file: Path | None, compiled: bool) -> Answer:
    import torch
    import torch_resnet

    if weights_file is None:
        raise ValueError("the model's weights could not be unpacked")
    with np.load(weights_file) as held:
        weights = dict(held)
    network = torch_resnet.load(weights, len(weights["probabilities/1"])).eval()
    network = network.to(memory_format=torch.channels_last)
    run = torch.compile(network) if compiled else network

    def answer(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            photos = torch.from_numpy(batch).permute(0, 3, 1, 2).float()
            photos = photos.contiguous(memory_format=torch.channels_last)
            return run(photos).softmax(1).numpy()

    return answer


RUNTIMES: dict[str, Callable[[Path], Answer]] = {
    "Keras predict": _predict,
    "Keras, traced": _traced,
    "ONNX Runtime": _onnx,
    "OpenVINO": _openvino,
    "LiteRT": _litert,
}
TORCH = ("PyTorch eager", "PyTorch compiled")
BARE = (*RUNTIMES, *TORCH)
NEEDS = OURS | {"ONNX Runtime": ".onnx", "OpenVINO": ".openvino.xml", "LiteRT": ".tflite"}
