"""A process that opens model files as `flowers predict` does, for files that may end it.

For each path on its standard input it answers with one line of JSON: {"refused": the message},
{"answered": the label}, or {"failed": an error of another kind}; and how much memory it has held.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path


def answer(path: Path) -> dict[str, str]:
    """What comes of a file: an answer, a refusal or a failure."""
    import numpy as np

    from flowers.errors import FlowersError
    from flowers.model import backbone
    from flowers.ship.predictor import Predictor

    try:
        if path.suffix == ".h5":
            import keras

            entry = keras.Input((32, 32, 3))
            backbone.load_weights(keras.Model(entry, keras.layers.Conv2D(4, 3)(entry)), path)
            return {"answered": "weights"}
        predictor = Predictor.load(path)
        grey = np.full((predictor.card.size, predictor.card.size, 3), 128, np.uint8)
        return {"answered": predictor.predict(grey).label}
    except FlowersError as error:
        return {"refused": str(error)}
    except BaseException as error:
        return {"failed": f"{type(error).__name__}: {str(error)[:300]}"}


def main() -> None:
    """Opens what it is told until its input ends."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from flowers.ship import trial

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what runtimes print is no answer
    for line in sys.stdin:
        came = answer(Path(line.strip()))
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({**came, "memory": trial._peak()}), file=answers, flush=True)


if __name__ == "__main__":
    main()
