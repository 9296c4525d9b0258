"""Turns the shipped graph into each format. The only place where a converter is called."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from flowers.errors import FlowersError, InputError
from flowers.ship import int8, runtimes
from flowers.ship.proof import ROUNDED, SAME, Gate

CALIBRATING = 32  # training photos that int8 is corrected on: means over them hardly change


@dataclass(frozen=True)
class Format:
    """A format's name on the command line, how its files end, and what it must reach."""

    name: str
    ending: str
    gate: Gate


KERAS = Format("keras", ".keras", SAME)
QUICK = Format("litert", ".tflite", SAME)  # the one that `flowers train` leaves
FORMATS = (
    KERAS,
    Format("savedmodel", ".savedmodel", SAME),
    Format("onnx", ".onnx", SAME),
    QUICK,
    Format("litert-int8", ".int8.tflite", ROUNDED),
    Format("openvino", ".openvino.xml", SAME),
)


def find(name: str) -> Format:
    """The format called `name`.

    Raises:
        InputError: there is none of that name.
    """
    for known in FORMATS:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in FORMATS)
    raise InputError(f"a format out of {names}", repr(name), "Correct --format.")


class Converter:
    """One shipped graph, and what several formats are made from: its SavedModel."""

    def __init__(self, graph: keras.Model, photos: np.ndarray, folder: Path):
        """Args:
        graph: of `ship.graph.build`.
        photos: uint8 [N, S, S, 3] from the training split: int8 is corrected on them.
        folder: empty, for what is written on the way.
        """
        self.graph, self.photos, self.folder = graph, photos, folder
        self._saved: Path | None = None

    def write(self, wanted: Format, path: Path) -> None:
        """Writes the graph in one format.

        Raises:
            InputError: the packages of the format are missing, or its converter fails.
        """
        writers = {
            "savedmodel": self._saved_model,
            "onnx": self._onnx,
            "litert": self._litert,
            "litert-int8": self._litert_int8,
            "openvino": self._openvino,
        }
        with _quiet() as log:
            try:
                writers[wanted.name](path)
            except ImportError as error:
                remedy = "Install them: pip install 'flowers[export]'."
                raise InputError(f"the packages of {wanted.name}", str(error), remedy) from error
            except (FlowersError, OSError, MemoryError):
                raise  # of the world, not of the graph
            except Exception as error:  # each converter has exceptions of its own
                reason = (str(error).strip() or log()).split("\n")[0][:300]
                raise InputError(
                    f"a graph that {wanted.name} can hold", reason, "Choose another format."
                ) from error

    def _source(self) -> Path:
        """The SavedModel that converters read; made once."""
        if self._saved is None:
            saved = self.folder / "graph.savedmodel"
            self._saved_model(saved)
            self._saved = saved
        return self._saved

    def _saved_model(self, path: Path) -> None:
        if keras.backend.backend() == "tensorflow":
            return self._saved_by_tensorflow(path)
        archive = keras.export.ExportArchive()
        archive.track(self.graph)
        archive.add_endpoint(
            "serve",
            lambda photo: self.graph(photo, training=False),
            input_signature=[self._photo()],
        )
        archive.write_out(str(path), verbose=False)

    def _saved_by_tensorflow(self, path: Path) -> None:
        """The same file as Keras' archive in half the time: the archive traces the graph thrice."""
        import tensorflow as tf

        module = tf.Module()
        module.held = [variable.value for variable in self.graph.variables]
        photo = self._photo()
        signature = [tf.TensorSpec(photo.shape, photo.dtype, photo.name)]
        module.serve = tf.function(
            lambda photo: self.graph(photo, training=False), signature, autograph=False
        )
        serve = module.serve.get_concrete_function()
        tf.saved_model.save(module, str(path), signatures={"serve": serve})

    def _onnx(self, path: Path) -> None:
        self.graph.export(str(path), format="onnx", input_signature=[self._photo()], verbose=False)

    def _litert(self, path: Path) -> None:
        path.write_bytes(self._lite().convert())

    def _litert_int8(self, path: Path) -> None:
        path.write_bytes(int8.to_int8(self._lite().convert(), self.photos))

    def _openvino(self, path: Path) -> None:
        openvino = runtimes.openvino_alone()
        converted = openvino.convert_model(str(self._source()))
        openvino.save_model(converted, str(path), compress_to_fp16=False)

    def _lite(self):
        import tensorflow as tf

        return tf.lite.TFLiteConverter.from_saved_model(
            str(self._source()), signature_keys=["serve"]
        )

    def _photo(self) -> keras.InputSpec:
        shape = (None, *self.graph.input_shape[1:])
        return keras.InputSpec(shape=shape, dtype="float32", name="photo")


@contextlib.contextmanager
def _quiet() -> Iterator:
    """Keeps what converters print, in Python and beneath it; yields a function that tells it."""
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as log, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
                stream.flush()
                os.dup2(log.fileno(), number)
            yield lambda: (log.seek(0), log.read().decode(errors="replace"))[1]
        finally:
            for stream, number, old in zip((sys.stdout, sys.stderr), (1, 2), kept, strict=True):
                stream.flush()
                os.dup2(old, number)
                os.close(old)
