"""What every test and every notebook runs under: offline, quiet, on the CPU, with empty caches."""

import atexit
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OFFLINE = ROOT / "tests" / "offline"

# Set here rather than in a fixture: Keras, TensorFlow and kagglehub read these when imported, and
# the kernels of the notebooks and other processes inherit them.
_caches = tempfile.mkdtemp(prefix="flowers-tests-")
atexit.register(shutil.rmtree, _caches, ignore_errors=True)
os.environ.update(
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

_spec = importlib.util.spec_from_file_location("offline", OFFLINE / "sitecustomize.py")
_spec.loader.exec_module(importlib.util.module_from_spec(_spec))


def pytest_configure(config):
    """Settles how nbval runs the notebooks; it reads no settings from pyproject.toml."""
    if config.pluginmanager.hasplugin("nbval"):
        config.option.nbval_current_env = True  # the kernel of this environment, whatever is named
        config.option.nbval_cell_timeout = 240.0  # seconds; a dead kernel would wait 2,000
        config.option.nbval_sanitize_with = str(ROOT / "notebooks" / "sanitize.cfg")
