"""A LiteRT model taken apart: its convolutions, their constants, and what flows between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from flowers.progress import progress

_PER_CHANNEL = 5  # version of LiteRT's convolution that takes a scale for each output


@dataclass(frozen=True, eq=False)
class Convolution:
    """One convolution of an `Opened` model: numbers of its tensors, and how it steps."""

    read: int
    kernel: int
    bias: int
    written: int
    stride: int
    relu: bool  # whether a ReLU follows within it


class Opened:
    """A LiteRT model whose constants can be changed."""

    def __init__(self, model: bytes):
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._model = schema.ModelT.InitFromPackedBuf(model, 0)
        self._size = len(model)
        self._graph = self._model.subgraphs[0]
        kind = schema.BuiltinOperator.CONV_2D
        self._steps = [step for step in self._graph.operators if self._code(step) == kind]

    def convolutions(self) -> list[Convolution]:
        """All of them, in the order they are computed."""
        relu = self._schema.ActivationFunctionType.RELU
        return [
            Convolution(
                *(int(number) for number in (*step.inputs[:3], step.outputs[0])),
                int(step.builtinOptions.strideH),
                step.builtinOptions.fusedActivationFunction == relu,
            )
            for step in self._steps
        ]

    def readers(self, tensor: int) -> int:
        """How many steps of any kind read a tensor."""
        return sum(tensor in step.inputs for step in self._graph.operators)

    def floats(self, tensor: int) -> np.ndarray:
        """A constant of the model: float32 in its shape; a kernel is [outputs, h, w, inputs]."""
        held = self._graph.tensors[tensor]
        raw = np.asarray(self._model.buffers[held.buffer].data, np.uint8).tobytes()
        return np.frombuffer(raw, np.float32).reshape(held.shape)

    def store(self, tensor: int, values: np.ndarray) -> None:
        """Puts float32 values of the same shape in a constant's place."""
        self._fill(tensor, values.astype(np.float32))

    def store_rounded(self, number: int, rounded: np.ndarray, scales: np.ndarray) -> None:
        """Gives convolution `number` an int8 kernel with a float32 scale for each output."""
        step = self._steps[number]
        kernel = self._graph.tensors[int(step.inputs[1])]
        self._fill(int(step.inputs[1]), rounded)
        kernel.type = self._schema.TensorType.INT8
        kernel.quantization = self._schema.QuantizationParametersT()
        kernel.quantization.scale = scales
        kernel.quantization.zeroPoint = np.zeros(len(scales), np.int64)
        kernel.quantization.quantizedDimension = 0
        code = self._model.operatorCodes[step.opcodeIndex]
        code.version = max(code.version, _PER_CHANNEL)

    def packed(self) -> bytes:
        """The model as a file."""
        import flatbuffers

        builder = flatbuffers.Builder(self._size)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _code(self, step: Any) -> int:
        return self._model.operatorCodes[step.opcodeIndex].builtinCode

    def _fill(self, tensor: int, values: np.ndarray) -> None:
        held = self._graph.tensors[tensor]
        self._model.buffers[held.buffer].data = np.frombuffer(values.tobytes(), np.uint8)


def flows(model: bytes, photos: np.ndarray, what: str) -> Iterator[Callable[[int], np.ndarray]]:
    """Runs photos through a model, and yields for each a function: tensor -> [1, h, w, channels].

    Args:
        model: in float32, from photos float32 [B, S, S, 3].
        photos: uint8 [N, S, S, 3].
        what: the progress bar says.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        experimental_preserve_all_tensors=True,
        # a delegate keeps what lies between its steps to itself
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]["index"]
    with progress(None, what, total=len(photos)) as bar:
        for photo in photos:
            interpreter.set_tensor(entry, photo[None].astype(np.float32))
            interpreter.invoke()
            yield interpreter.get_tensor
            bar.update(1)
