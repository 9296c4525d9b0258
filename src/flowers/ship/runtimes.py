"""Each format's own runner: photos in; probabilities, novelty, heat maps and features out.

A runner imports its runtime alone: TensorFlow and Keras stay out where a format does not need them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from flowers.data import parallel
from flowers.errors import InputError
from flowers.ship import contents
from flowers.train import memory

if TYPE_CHECKING:
    import keras

    from flowers.ship.card import Card

# "probabilities" [B, C], "heat" [B, h, w], where a score was fitted "novelty" [B], and but in files
# of older exports "features" [B, D]
Outputs = Mapping[str, np.ndarray]
Run = Callable[[np.ndarray], Outputs]  # [B, S, S, 3], RGB, 0-255, uint8 or float32

NAMES = ("probabilities", "heat", "novelty", "features")
THREADS = 2  # of a runtime for one photo: more threads than a small host has cores slow it down
SIDE_BY_SIDE = 2  # models for many photos, of one thread each: each holds weights of its own


def open_model(path: str | Path, card: Card, *, plain: bool = False, threads: int = THREADS) -> Run:
    """Opens a model file with the runtime of its format, told by its ending.

    The caller has compared the file with its card. What the file holds is looked at before its
    runtime opens it.

    Args:
        path: ends in .keras, .tflite, .onnx or .xml, or is a SavedModel folder.
        card: tells the shapes that the model must have.
        plain: int8 arithmetic without the CPU's newest instructions (LiteRT alone).
        threads: of a runtime that can be told (LiteRT, ONNX Runtime, OpenVINO).

    Raises:
        InputError: an ending that none of them has, a runtime that is not installed, a file that
            it cannot open, or other shapes than the card's; of what it gives back: an answer
            that the runtime cannot compute.
    """
    path = Path(path)
    openers = {
        ".keras": _keras,
        ".tflite": _litert,
        ".onnx": _onnx,
        ".savedmodel": _saved_model,
        ".xml": _openvino,
    }
    if path.suffix not in openers:
        raise InputError(
            f"a model file ending in {', '.join(openers)}", path.name, "Name another file."
        )
    if plain and path.suffix != ".tflite":
        raise ValueError(f"Only LiteRT runs without the newest instructions, not {path.name}.")
    if path.suffix != ".keras":  # `bundle` looks for itself, as it is called by others too
        contents.require_harmless(path)
    settings: dict[str, int] = {"plain": True} if plain else {}
    if path.suffix in (".tflite", ".onnx", ".xml"):
        settings["threads"] = threads
    try:
        run = openers[path.suffix](path, card, **settings)
    except ImportError as error:
        raise InputError(
            f"the runtime that reads {path.suffix} files",
            str(error),
            "Install it: pip install 'flowers[export]'; of .tflite alone: 'flowers[serve]'.",
        ) from error
    except InputError:
        raise
    except Exception as error:  # each runtime has exceptions of its own
        raise _unusable(path, error) from error

    def answer(batch: np.ndarray) -> Outputs:
        try:
            return run(batch)
        except Exception as error:  # some look at a part of the file only when they compute it
            if memory.exhausted(error):
                raise
            raise _unusable(path, error) from error

    return answer


def _unusable(path: Path, error: Exception) -> InputError:
    reason = str(error).strip().split("\n")[0][:200]
    return InputError(
        f"a model in {path}", reason or type(error).__name__, "Export or copy it again."
    )


def side_by_side(path: Path) -> int:
    """How many models of one thread each answer many photos soonest on this machine.

    1 where one model of several threads does. The threads of one model wait for each other at each
    of its layers; models side by side do not.
    """
    return min(SIDE_BY_SIDE, parallel.cores()) if path.suffix == ".tflite" else 1


def _checked(shapes: Mapping[str, tuple], photo: tuple, card: Card, path: Path) -> tuple[str, ...]:
    """The outputs that the model has, or an InputError where shapes are not the card's."""
    fits = photo[1:] == (card.size, card.size, 3) and set(NAMES[:2]) <= set(shapes) <= set(NAMES)
    if not fits or shapes["probabilities"][1:] != (len(card.labels),):
        raise InputError(
            f"a model from photos of {card.size} px to {len(card.labels)} probabilities and a "
            "heat map",
            f"{photo} to {dict(shapes)} in {path}",
            "Keep a model and its card together.",
        )
    return tuple(name for name in NAMES if name in shapes)


def _keras(path: Path, card: Card) -> Run:
    from flowers.ship import bundle, graph  # Keras costs seconds

    return of_graph(graph.build(bundle.load(path, card), bundle.load_novelty(path)))


def of_graph(shipped: keras.Model) -> Run:
    """The runner of a graph that `ship.graph.build` has made."""

    def run(batch: np.ndarray) -> Outputs:
        outputs = shipped.predict_on_batch(np.asarray(batch, np.float32))
        return {name: np.asarray(part, np.float32) for name, part in outputs.items()}

    return run


def _litert(path: Path, card: Card, threads: int, plain: bool = False) -> Run:
    """One photo at a time: batches gain nothing on a CPU, and memory stays flat."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # without its delegate, LiteRT multiplies int8 by older instructions, which are exact
    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else OpResolverType.AUTO
    interpreter = Interpreter(str(path), num_threads=threads, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    photo, details = runner.get_input_details(), runner.get_output_details()
    del runner  # the interpreter does not run by itself while a runner holds it
    shapes = {name: tuple(detail["shape"]) for name, detail in details.items()}
    entry = photo.get("photo", {"shape": (), "index": -1})
    _checked(shapes, tuple(int(side) for side in entry["shape"]), card, path)
    lock = threading.Lock()  # an interpreter answers one caller at a time

    def run(batch: np.ndarray) -> Outputs:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in details}
        for row in range(len(batch)):
            with lock:
                interpreter.set_tensor(entry["index"], np.asarray(batch[row : row + 1], np.float32))
                interpreter.invoke()
                for name, detail in details.items():
                    parts[name].append(interpreter.get_tensor(detail["index"]))
        return {name: np.concatenate(rows) for name, rows in parts.items()}

    return run


def _onnx(path: Path, card: Card, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )  # bytes and not a path: a file can then not point to other files
    shapes = {output.name: tuple(output.shape) for output in session.get_outputs()}
    photo = {entry.name: tuple(entry.shape) for entry in session.get_inputs()}.get("photo", ())
    names = _checked(shapes, photo, card, path)

    def run(batch: np.ndarray) -> Outputs:
        outputs = session.run(list(names), {"photo": np.asarray(batch, np.float32)})
        return dict(zip(names, outputs, strict=True))

    return run


def _saved_model(path: Path, card: Card) -> Run:
    import tensorflow as tf

    opened = tf.saved_model.load(str(path))  # its variables live as long as it does
    serve = opened.signatures["serve"]
    shapes = {name: tuple(spec.shape) for name, spec in serve.structured_outputs.items()}
    photo = tuple(serve.structured_input_signature[1]["photo"].shape)
    _checked(shapes, photo, card, path)

    def run(batch: np.ndarray, _keep: object = opened) -> Outputs:
        outputs = serve(photo=tf.constant(batch, tf.float32))
        return {name: part.numpy() for name, part in outputs.items()}

    return run


def openvino_alone() -> ModuleType:
    """The package openvino, kept from reporting its import and its use to its maker's server."""
    sys.modules.setdefault("openvino_telemetry", None)  # as where it is not installed
    import openvino

    return openvino


def _openvino(path: Path, card: Card, threads: int) -> Run:
    openvino = openvino_alone()
    core = openvino.Core()
    # on CPUs that have bf16 it would compute in it by itself, and no longer agree
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(threads),
    }
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    shapes = {
        output.get_any_name(): tuple(
            side.get_length() if side.is_static else None for side in output.partial_shape
        )
        for output in compiled.outputs
    }
    photo = tuple(
        side.get_length() if side.is_static else None for side in compiled.inputs[0].partial_shape
    )
    names = _checked(shapes, photo, card, path)

    def run(batch: np.ndarray) -> Outputs:
        outputs = compiled({"photo": np.asarray(batch, np.float32)})
        return {name: np.array(outputs[name]) for name in names}

    return run
