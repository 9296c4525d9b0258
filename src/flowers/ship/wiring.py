"""How a LiteRT file is wired: looked at before its runtime, which believes most of what it reads.

The runtime checks that a file is a well-formed FlatBuffer, and then writes where an operation's
output points to: into an array of the file itself, too, which ends the process. The layout is that
of LiteRT's schema (schema.fbs, version 3); a slot is a field's number in a table there.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from flowers.errors import InputError

_MODEL_CODES, _MODEL_GRAPHS, _MODEL_BUFFERS = 1, 2, 4
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 0, 1, 2, 3
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER = 0, 1, 2
_BUFFER_DATA, _BUFFER_PLACE = 0, 1
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 0, 1, 2
_CODE_OLD, _CODE_CUSTOM, _CODE = 0, 1, 3  # codes above 127 have a place of their own
_ABSENT = -1  # instead of an input: the bias, which is the third
_BIASED = {3, 4, 9}  # Conv2D, DepthwiseConv2D and FullyConnected: those that do without one
_MOST_TABLES, _MOST_NUMBERS = 20_000, 1_000  # of a list; the largest of ours has 300, and 16
_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1}  # of a number, by its type in the schema


class _Table:
    """A table of a FlatBuffer: fields by slot, each where the table's own list says."""

    def __init__(self, content: mmap.mmap, place: int):
        self.content, self.place = content, place
        self.fields = place - _number(content, place, "<i")
        self.size = _number(content, self.fields, "<H")

    def _field(self, slot: int) -> int:
        """Where a field stands; 0 where the table does not have it."""
        entry = 4 + 2 * slot
        if entry + 2 > self.size:
            return 0
        offset = _number(self.content, self.fields + entry, "<H")
        return self.place + offset if offset else 0

    def number(self, slot: int, form: str) -> int:
        """A number; 0 where the table does not have it."""
        place = self._field(slot)
        return _number(self.content, place, form) if place else 0

    def has(self, slot: int) -> bool:
        return bool(self._field(slot))

    def _vector(self, slot: int, most: float = math.inf) -> tuple[int, int]:
        """Where a list begins, and how many it holds."""
        field = self._field(slot)
        if not field:
            return 0, 0
        place = field + _number(self.content, field, "<I")
        count = _number(self.content, place, "<I")
        if count > most:
            raise ValueError(f"a list of {count:,}")
        return place + 4, count

    def length(self, slot: int) -> int:
        return self._vector(slot)[1]

    def numbers(self, slot: int) -> tuple[int, ...]:
        """A list of int32."""
        place, count = self._vector(slot, _MOST_NUMBERS)
        return struct.unpack_from(f"<{count}i", self.content, place)

    def tables(self, slot: int) -> Iterator[_Table]:
        """A list of tables."""
        place, count = self._vector(slot, _MOST_TABLES)
        for entry in range(place, place + 4 * count, 4):
            yield _Table(self.content, entry + _number(self.content, entry, "<I"))


def _number(content: mmap.mmap, place: int, form: str) -> int:
    if place < 0:
        raise ValueError("a place before the beginning")
    return struct.unpack_from(form, content, place)[0]


def require_sound(path: Path) -> None:
    """Refuses a LiteRT file whose operations read what nobody wrote, or write what is not theirs.

    Raises:
        InputError: with what was found. Nothing of the file has run.
    """
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            found = _wrong(_Table(content, _number(content, 0, "<I")))
    except (struct.error, ValueError, OverflowError) as error:  # ValueError: an empty file, too
        found = f"a damaged file ({error})"
    if found:
        raise InputError(
            f"a LiteRT model in {path}",
            found,
            "Do not open it with anything else: export or copy your model again.",
        )


def _wrong(model: _Table) -> str:
    """What is wrong with a model; "" when nothing is."""
    kinds = list(model.tables(_MODEL_CODES))
    if any(kind.has(_CODE_CUSTOM) for kind in kinds):
        return "operations that LiteRT does not have itself"
    codes = [max(kind.number(_CODE_OLD, "<b"), kind.number(_CODE, "<i")) for kind in kinds]
    graphs = list(model.tables(_MODEL_GRAPHS))
    if len(graphs) != 1:
        return f"{len(graphs)} graphs instead of one"
    (graph,) = graphs
    buffers = list(model.tables(_MODEL_BUFFERS))
    if any(buffer.has(_BUFFER_PLACE) for buffer in buffers):
        return "arrays behind the model's own end"
    sizes = [buffer.length(_BUFFER_DATA) for buffer in buffers]
    tensors, constant = list(graph.tables(_GRAPH_TENSORS)), set()
    for index, tensor in enumerate(tensors):
        buffer = tensor.number(_TENSOR_BUFFER, "<I")
        if buffer >= len(sizes):
            return f"the array {index} in a place that is not there"
        if sizes[buffer]:
            constant.add(index)
            width = _BYTES.get(tensor.number(_TENSOR_TYPE, "<b"))
            if width is None or sizes[buffer] != width * math.prod(tensor.numbers(_TENSOR_SHAPE)):
                return f"the array {index} of another size than it says"
    return _miswired(graph, codes, len(tensors), constant)


def _miswired(graph: _Table, codes: list[int], count: int, constant: set[int]) -> str:
    """The first operation that reads what nobody wrote before it, or writes what is not its own."""
    inputs, outputs = graph.numbers(_GRAPH_INPUTS), graph.numbers(_GRAPH_OUTPUTS)
    known = constant | set(inputs)
    if constant & set(inputs):
        return "an input that is part of the file"
    for number, operator in enumerate(graph.tables(_GRAPH_OPERATORS)):
        read = operator.numbers(_OPERATOR_INPUTS)
        code = operator.number(_OPERATOR_CODE, "<I")
        if code >= len(codes):
            return f"the operation {number} of an unknown kind"
        if codes[code] in _BIASED and read[2:] == (_ABSENT,):
            read = read[:2]
        if not set(read) <= known:
            return f"the operation {number} that reads what no earlier one wrote"
        written = operator.numbers(_OPERATOR_OUTPUTS)
        if known & set(written) or len(set(written)) < len(written):
            return f"the operation {number} that writes where something else stands"
        known |= set(written)
    if not known <= set(range(count)):
        return "operations on arrays that are not there"
    return "" if set(outputs) <= known else "an output that no operation wrote"
