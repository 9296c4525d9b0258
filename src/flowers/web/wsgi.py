"""For gunicorn: `gunicorn --worker-class gthread --threads 16 'flowers.web.wsgi:create()'`.

One worker: each holds a model of its own, and counts for itself. Not with --preload: the model is
opened in the process that runs it.
"""

from __future__ import annotations

import logging
import os

from flask import Flask

from flowers.ship.predictor import Predictor
from flowers.web.app import create_app

DEFAULT_MODEL = "models/flowers.int8.tflite"


def create() -> Flask:
    """The application for the model that the variable FLOWERS_MODEL names.

    Raises:
        InputError: there is no such model, or it is none.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    return create_app(Predictor.load(os.environ.get("FLOWERS_MODEL") or DEFAULT_MODEL))
