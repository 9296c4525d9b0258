"""What an export leaves, for tests of several folders."""

from pathlib import Path
from typing import NamedTuple

from flowers.ship import export

FILES = (
    *("flowers.keras", "flowers.savedmodel", "flowers.onnx", "flowers.tflite"),
    *("flowers.int8.tflite", "flowers.openvino.xml"),
)


class Shipped(NamedTuple):
    """A folder with flowers.* in it, what the export said, and the photos it learned from."""

    folder: Path
    exported: export.Exported
    lines: list[str]
    photos: Path

    @property
    def model(self) -> Path:
        return self.folder / "flowers.keras"
