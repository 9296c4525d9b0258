"""What a model file may hold: looked at before a runtime sees it, so that nothing in it runs.

Runtimes trust their files: a Keras archive can name Python code to run, a SavedModel is a program
that can read and write files, an ONNX file can point to other files. What `flowers train` and
`flowers export` write needs none of that, so whatever needs it is refused.
"""

from __future__ import annotations

import io
import json
import mmap
import zipfile
from collections.abc import Iterator
from pathlib import Path

from flowers import hdf5
from flowers.errors import InputError
from flowers.ship import wiring

NOVELTY = "flowers/novelty.npz"  # a member of the .keras archive
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = {"metadata.json", _CONFIG, _WEIGHTS, NOVELTY}
_SMALL = 20_000_000  # bytes of config.json and of the novelty score, at most
_RATIO = 20  # bytes of members for one of the archive; Keras does not compress
_WIDEST = 65_536  # units or filters of a layer; the widest of ours has 2,048

# The layers and operations that our networks consist of.
_LAYERS = {
    *("Functional", "InputLayer", "Activation", "ReLU", "Softmax", "Dropout", "Dense", "Rescaling"),
    *("Conv2D", "BatchNormalization", "Add", "ZeroPadding2D", "MaxPooling2D", "AveragePooling2D"),
    *("GlobalAveragePooling2D", "GlobalMaxPooling2D", "Concatenate", "Flatten", "Take", "GetItem"),
    *("Pad", "Reshape", "Cast"),
}
# And what stands in their settings: the ways to begin, to restrain and to round.
_SETTINGS = {
    *("GlorotUniform", "GlorotNormal", "HeNormal", "HeUniform", "Zeros", "Ones", "Constant"),
    *(
        "RandomNormal",
        "RandomUniform",
        "TruncatedNormal",
        "VarianceScaling",
        "OrthogonalInitializer",
    ),
    *("Orthogonal", "L1", "L2", "L1L2", "DTypePolicy", "__keras_tensor__", "__tuple__"),
    *("__slice__", "__numpy__"),
}
_OPERATIONS = {  # of a SavedModel: arithmetic, and reading its own variables
    *("Add", "AddV2", "AddN", "ArgMax", "AvgPool", "BatchMatMulV2", "BiasAdd", "BroadcastTo"),
    *("Cast", "ConcatV2", "Const", "Conv2D", "Div", "Equal", "Exp", "ExpandDims", "Fill"),
    *("FusedBatchNormV3", "GatherV2", "Greater", "GreaterEqual", "Identity", "IdentityN", "Less"),
    *("LessEqual", "Log", "LogicalAnd", "MatMul", "Max", "MaxPool", "Maximum", "Mean", "Min"),
    *("Minimum", "Mul", "Neg", "NoOp", "Pack", "Pad", "PadV2", "Placeholder", "Pow", "Prod"),
    *("ReadVariableOp", "RealDiv", "Relu", "Reshape", "Rsqrt", "Select", "SelectV2", "Shape"),
    *("Sigmoid", "Softmax", "Split", "SplitV", "Sqrt", "Square", "SquaredDifference", "Squeeze"),
    *("StopGradient", "StridedSlice", "Sub", "Sum", "Tile", "Transpose", "VarHandleOp"),
    *("PartitionedCall", "StatefulPartitionedCall", "AssignVariableOp", "VarIsInitializedOp"),
    *("DisableCopyOnRead", "ZerosLike", "OnesLike", "Sign", "Abs"),
    # how TensorFlow stores and fetches the variables themselves
    *(
        "RestoreV2",
        "SaveV2",
        "MergeV2Checkpoints",
        "ShardedFilename",
        "StringJoin",
        "StaticRegexFullMatch",
    ),
}


def require_harmless(path: Path) -> None:
    """Refuses a model file that is not of its kind, or holds more than a classifier needs.

    Args:
        path: ends in .keras, .tflite, .onnx or .xml, or is a SavedModel folder.

    Raises:
        InputError: with what was found. Nothing of the file has run.
    """
    looks = {
        ".keras": _keras,
        ".tflite": _litert,
        ".onnx": _onnx,
        ".savedmodel": _saved_model,
        ".xml": _openvino,
    }
    looks[path.suffix](path)


def _keras(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if not {_CONFIG, _WEIGHTS} <= set(names) <= _MEMBERS or len(set(names)) < len(names):
                raise _refusal(path, "a Keras archive", f"the members {', '.join(names)[:200]!a}")
            size = path.stat().st_size
            if sum(member.file_size for member in members) > _RATIO * size:
                raise _refusal(path, "a Keras archive", "one that unpacks to far more than it has")
            for member in members:
                if member.filename != _WEIGHTS and member.file_size > _SMALL:
                    raise _refusal(path, "a Keras archive", f"a huge {member.filename}")
            config = json.loads(archive.read(_CONFIG))
            weights = archive.read(_WEIGHTS)
            if NOVELTY in names:
                _require_small(path, archive.read(NOVELTY))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        received = f"a damaged file, or one of another kind ({str(error)[:120]})"
        raise _refusal(path, "a Keras archive", received) from error
    if isinstance(config, dict):
        config.pop("compile_config", None)  # how it was trained, which nobody reads any more
    for part in _parts(path, config):
        _require_ours(path, part)
    hdf5.require_plain(io.BytesIO(weights), f"{_WEIGHTS} of {path}", len(weights))


def _require_small(path: Path, packed: bytes) -> None:
    """Refuses arrays (.npz) that unpack to far more than they take."""
    with zipfile.ZipFile(io.BytesIO(packed)) as arrays:
        if sum(member.file_size for member in arrays.infolist()) > max(
            _SMALL, _RATIO * len(packed)
        ):
            raise _refusal(path, "a Keras archive", f"a {NOVELTY} that unpacks to far more")


def _parts(path: Path, value: object, deep: int = 60) -> Iterator[dict]:
    """Every object that config.json describes, at whatever depth."""
    if deep == 0:
        raise _refusal(path, "a Keras archive", "settings nested too deeply")
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _parts(path, inner, deep - 1)


def _require_ours(path: Path, part: dict) -> None:
    """Refuses a layer, an operation or a setting that is none of ours, by its class and module."""
    for key in ("units", "filters"):
        if isinstance(part.get(key), int) and part[key] > _WIDEST:
            raise _refusal(path, f"layers of at most {_WIDEST:,} {key}", f"{part[key]:,}")
    if "class_name" not in part:
        return
    name, module = part["class_name"], part.get("module")
    known = name in _LAYERS | _SETTINGS
    if not known or not (module is None or f"{module}.".startswith("keras.")):
        raise _refusal(
            path,
            "a network of layers that `flowers` builds",
            f"{str(name)[:80]!a} of {str(module)[:80]!a}, which could run any code",
        )


def _litert(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(8)[4:] != b"TFL3":
            raise _refusal(path, "a LiteRT model", "a file of another kind")
    wiring.require_sound(path)


def _onnx(path: Path) -> None:
    """An array that lies in another file says so by the word "location", which ours do not have."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise _refusal(path, "an ONNX model", "an empty file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(b"location") >= 0:
                raise _refusal(path, "an ONNX model", "one that points to other files")


def _saved_model(path: Path) -> None:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    program = path / "saved_model.pb"
    saved = SavedModel()
    try:
        saved.ParseFromString(program.read_bytes())
    except (OSError, DecodeError) as error:
        raise _refusal(path, "a SavedModel", f"a damaged one ({str(error)[:120]})") from error
    used = set()
    for graph in (each.graph_def for each in saved.meta_graphs):
        used |= {node.op for node in graph.node}
        used |= {node.op for function in graph.library.function for node in function.node_def}
        used -= {function.signature.name for function in graph.library.function}
    if strangers := sorted(used - _OPERATIONS):
        received = f"the operations {', '.join(strangers)[:200]!a}"
        raise _refusal(path, "a SavedModel that only calculates", received)


def _openvino(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4096)
    if b"<net" not in head or b"<!DOCTYPE" in head or b"<!ENTITY" in head:
        raise _refusal(path, "an OpenVINO model", "a file of another kind")


def _refusal(path: Path, expected: str, received: str) -> InputError:
    return InputError(
        f"{expected} in {path}",
        received,
        "Do not open it with anything else: train, export or copy your model again.",
    )
