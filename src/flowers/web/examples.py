"""Painted flowers to try the page with: painted when first asked for, kept in memory."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence

from flowers.web.words import FLOWERS

SIZE = 320  # px of a side
QUALITY = 85  # of the JPEG: 20 kB

# of each flower one that is well in view
SEEDS = {"daisy": 6, "dandelion": 5, "rose": 3, "sunflower": 4, "tulip": 3}


class Examples:
    """JPEGs by label, of those of the model's classes that can be painted."""

    def __init__(self, labels: Sequence[str]):
        self.labels = tuple(label for label in labels if label in FLOWERS)
        self._jpegs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def jpeg(self, label: str) -> bytes | None:
        """A painted photo of the label; None where there is none."""
        if label not in self.labels:
            return None
        with self._lock:  # one paints, others wait for it
            if label not in self._jpegs:
                self._jpegs[label] = _painted(label)
            return self._jpegs[label]


def _painted(label: str) -> bytes:
    from PIL import Image

    from flowers.data import painted  # imported here: the server need not wait for the painter

    buffer = io.BytesIO()
    picture = Image.fromarray(painted.paint(label, SEEDS[label], SIZE))
    picture.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()
