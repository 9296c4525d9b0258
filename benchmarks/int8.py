"""What each step of the 8-bit export is worth: how far answers move, and at what speed.

    .venv/bin/python benchmarks/int8.py --model models/flowers.keras --data DIR

Reads the .tflite that `flowers export` wrote beside the model. The photos are the validation photos
the model is least sure of: the gates of the export look at test photos, which nothing is tuned on.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from flowers.data import catalogue as catalogues
from flowers.data import pixels, sources
from flowers.ship import card as cards
from flowers.ship import int8, rounding
from flowers.ship.equalising import equalised
from flowers.ship.formats import CALIBRATING


def main() -> None:
    """Prints a Markdown table."""
    arguments = _arguments()
    card = cards.load(arguments.model)
    listed = catalogues.of(sources.get(arguments.data, arguments.data_dir))
    decoded = pixels.cache(listed, card.size, arguments.data_dir / "cache")
    drawn = np.random.default_rng(0).permutation(listed.rows("train"))[:CALIBRATING]
    training, held = decoded[np.sort(drawn)], decoded[listed.rows("validation")]
    model = arguments.model.with_suffix(".tflite").read_bytes()
    exact, _ = answers(model, held)
    chosen = np.argsort(exact.max(axis=1))[: arguments.photos]
    held, exact = held[chosen], exact[chosen]
    print(f"{len(held)} validation photos; largest error of a probability in each\n")
    print("| step | largest | 5th largest | mean | largest, plain kernels | CPU time |")
    print("|---|---|---|---|---|---|")
    for name, made in variants(model, training):
        found, spent = answers(made, held)
        errors = np.sort(np.abs(found - exact).max(axis=1))
        plain = np.abs(answers(made, held, plain=True)[0] - exact).max()
        told = " | ".join(
            f"{error:.4f}" for error in (errors[-1], errors[-5], errors.mean(), plain)
        )
        print(f"| {name} | {told} | {1e3 * spent:.0f} ms |", flush=True)


def alone(weights: np.ndarray, steps: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Each weight by itself, whatever the layer reads."""
    return rounding.nearest(weights, steps)


def variants(model: bytes, photos: np.ndarray):
    """(what it is, the model) from the simplest rounding to the one that is exported."""
    yield "float32", model
    yield "each weight to its nearest step", int8.rounded(model, photos, alone)
    yield "weights rounded together", int8.rounded(model, photos, rounding.compensated)
    yield "channels evened out first", int8.rounded(equalised(model, photos), photos, alone)
    yield "both: what is exported", int8.to_int8(model, photos)


def answers(model: bytes, photos: np.ndarray, plain: bool = False) -> tuple[np.ndarray, float]:
    """Probabilities [N, C], and the median of the CPU time of one photo in seconds.

    plain: by the kernels without XNNPACK, which round what comes in to 7 bits.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else OpResolverType.AUTO
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner()
    entry = signature.get_input_details()["photo"]["index"]
    exit_ = signature.get_output_details()["probabilities"]["index"]
    found, times = [], []
    for photo in photos:
        start = time.process_time()
        interpreter.set_tensor(entry, photo[None].astype(np.float32))
        interpreter.invoke()
        times.append(time.process_time() - start)
        found.append(interpreter.get_tensor(exit_)[0].copy())
    return np.array(found), statistics.median(times)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="exported as .tflite beside it")
    parser.add_argument("--data", required=True, help="the photos it was trained on")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="for the caches")
    parser.add_argument("--photos", type=int, default=300)
    return parser.parse_args()


if __name__ == "__main__":
    main()
