"""For gunicorn: `gunicorn --worker-class gthread --threads 16 'flowers.web.wsgi:create()'`.

One worker: each holds a model of its own, and counts for itself. Not with --preload: the model is
opened in the process that runs it.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from flask import Flask

from flowers.web import memory
from flowers.web.app import create_app
from flowers.web.pool import Opener
from flowers.web.similar_photos import SimilarPhotos

DEFAULT_MODEL = "models/flowers.int8.tflite"


def create() -> Flask:
    """The application for the model that the variable FLOWERS_MODEL names.

    With FLOWERS_SIMILAR=1 it shows training photos like the one asked about: to everybody.

    Raises:
        InputError: there is no such model, or it is none; or there are no such photos.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    memory.keep_little()
    path = Path(os.environ.get("FLOWERS_MODEL") or DEFAULT_MODEL)
    opener = Opener(path)
    predictor = opener()
    shown = os.environ.get("FLOWERS_SIMILAR", "") not in ("", "0")
    return create_app(
        predictor,
        similar=SimilarPhotos.of(path, predictor) if shown else None,
        open_again=opener if opener.several else None,
    )
