"""What every test and every notebook runs under: offline, quiet, on the CPU, with empty caches."""

import atexit
import gc
import importlib.util
import os
import queue
import shutil
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OFFLINE = ROOT / "tests" / "offline"
CELL_TIMEOUT = 240.0  # seconds: a notebook that hangs fails the suite within five minutes

# Set here rather than in a fixture: Keras, TensorFlow and kagglehub read these when imported, and
# the kernels of the notebooks and other processes inherit them.
_caches = tempfile.mkdtemp(prefix="flowers-tests-")
atexit.register(shutil.rmtree, _caches, ignore_errors=True)
os.environ.update(
    FLOWERS_LESSONS=str(Path(_caches, "lessons")),  # where the notebooks write: see flowers.lesson
    FLOWERS_PROGRESS="off",
    KERAS_HOME=str(Path(_caches, "keras")),
    KAGGLEHUB_CACHE=str(Path(_caches, "kagglehub")),
    KAGGLE_CONFIG_DIR=str(Path(_caches, "kaggle")),
    PYTHONPATH=os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")])),
    TF_CPP_MIN_LOG_LEVEL="3",
)
for secret_or_source in (
    "KAGGLE_API_TOKEN",
    "KAGGLE_KEY",
    "KAGGLE_USERNAME",
    "FLOWERS_DATA",
    "FLOWERS_WEIGHTS",
    "FLOWERS_SIGNS",
    "FLOWERS_CIFAR10",
    "FLOWERS_OTHERS",
):
    os.environ.pop(secret_or_source, None)
# The same sums on every machine, and no 64 threads for a network of ten units. Whoever wants to
# test on a GPU names it: CUDA_VISIBLE_DEVICES=0.
for name, value in {
    "CUDA_VISIBLE_DEVICES": "-1",
    "OMP_NUM_THREADS": "2",
    "TF_NUM_INTEROP_THREADS": "2",
    "TF_NUM_INTRAOP_THREADS": "2",
}.items():
    os.environ.setdefault(name, value)

# Until all tests are imported, and TensorFlow with them: what stays anyway is no garbage.
gc.disable()

_spec = importlib.util.spec_from_file_location("offline", OFFLINE / "sitecustomize.py")
_spec.loader.exec_module(importlib.util.module_from_spec(_spec))


def pytest_collection_finish(session):
    """From here on garbage is collected again, but rarely: a million imported objects stay anyway.

    Not by `gc.freeze`, which hides them from whoever asks what refers to what.
    """
    gc.set_threshold(100_000, 20, 20)
    gc.enable()


def pytest_configure(config):
    """Settles how nbval runs the notebooks; it reads no settings from pyproject.toml."""
    if config.pluginmanager.hasplugin("nbval"):
        config.option.nbval_current_env = True  # the kernel of this environment, whatever is named
        config.option.nbval_cell_timeout = CELL_TIMEOUT
        config.option.nbval_sanitize_with = str(ROOT / "notebooks" / "sanitize.cfg")
        _fail_with_the_kernel()


def _fail_with_the_kernel():
    """Makes nbval look every other second whether the kernel still lives while it waits for it.

    By itself it waits for a cell of a dead kernel as long as for one that hangs.
    """
    from nbval.kernel import RunningKernel

    wait = RunningKernel.await_reply

    def await_reply(kernel, msg_id, timeout=None):
        end = time.monotonic() + (timeout or CELL_TIMEOUT)
        while True:
            try:
                return wait(kernel, msg_id, timeout=min(2, max(0.1, end - time.monotonic())))
            except queue.Empty:
                if not kernel.is_alive():
                    raise RuntimeError("The notebook's kernel died in this cell.") from None
                if time.monotonic() > end:
                    raise

    RunningKernel.await_reply = await_reply
