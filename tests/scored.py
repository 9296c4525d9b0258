"""A small model that is exported in no time, and what a job of scoring left."""

import json
from pathlib import Path

import numpy as np

from flowers import files
from flowers.judge.sets import PredictionSets
from flowers.ship.card import Card

LABELS = ("circle", "square", "triangle")  # red, green and blue in `small_folder`
SIZE = 32


def write_model(folder: Path, weight: float = 12.0) -> Path:
    """A network that goes by the mean colour, as `flowers export` would leave it.

    A photo is new to it when its mean is bright.
    """

    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["photo"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["mean", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMean", ["photo"], ["heat"], axes=[3], keepdims=0),
        helper.make_node("ReduceMean", ["mean"], ["grey"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["grey", "share"], ["novelty"]),
    ]
    shapes = {"probabilities": ["N", 3], "heat": ["N", SIZE, SIZE], "novelty": ["N"]}
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(*each) for each in _float(TensorProto.FLOAT, shapes)],
        [
            numpy_helper.from_array(np.float32(weight / 255), "weight"),
            numpy_helper.from_array(np.float32(1 / 128), "share"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = files.write_bytes(folder / "flowers.onnx", made.SerializeToString())
    Card(
        labels=LABELS,
        size=SIZE,
        sha256="0" * 64,
        catalogue="none",
        sets=PredictionSets(coverage=0.95, threshold=0.6, penalty=0.0, free=1),
        threshold=1.5,
        files={model.name: {"sha256": files.sha256(model)}},
    ).save(folder / "flowers.keras")
    return model


def _float(kind, shapes):
    return [(name, kind, shape) for name, shape in shapes.items()]


def table(folder: Path) -> list[dict]:
    """All rows of a folder of shards, as any reader of Parquet finds them."""
    import pyarrow.dataset

    return pyarrow.dataset.dataset(folder, format="parquet").to_table().to_pylist()


def manifest(folder: Path) -> dict:
    return json.loads((folder / "_manifest.json").read_text("utf-8"))
