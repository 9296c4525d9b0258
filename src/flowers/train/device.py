"""What the machine computes on, and in which precision that pays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras

from flowers.errors import InputError

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class Device:
    """The machine in words, and the dtype policy that suits it."""

    name: str
    gpu: bool
    precision: str


def find(precision: str = "auto") -> Device:
    """Looks at the machine.

    Args:
        precision: "auto" takes bfloat16 on a CPU that multiplies it (AVX512-bf16, AMX) and on
            GPUs from Ampere on, float16 on older GPUs, else float32. Variables stay float32.

    Raises:
        InputError: `precision` is no dtype policy we know.
    """
    if precision not in ("auto", *PRECISIONS):
        raise InputError(
            f"a precision of auto, {', '.join(PRECISIONS)}", repr(precision), "Correct it."
        )
    capability = _gpu_capability()
    if capability is not None:
        best = "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16"
        name = "GPU"
    else:
        fast = _cpu_flags() & {"avx512_bf16", "amx_bf16"}
        best = "mixed_bfloat16" if fast else "float32"
        name = "CPU with bfloat16" if fast else "CPU"
    return Device(name, capability is not None, best if precision == "auto" else precision)


def _gpu_capability() -> tuple[int, int] | None:
    """CUDA compute capability of the first GPU, (8, 0) where it is not told, None without one."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            gpus = tf.config.list_physical_devices("GPU")
            if not gpus:
                return None
            details = tf.config.experimental.get_device_details(gpus[0])
            return tuple(details.get("compute_capability", (8, 0)))
        case "jax":
            import jax

            gpus = [device for device in jax.devices() if device.platform == "gpu"]
            if not gpus:
                return None
            major, minor = str(getattr(gpus[0], "compute_capability", "8.0")).split(".")
            return int(major), int(minor)
        case "torch":
            import torch

            return torch.cuda.get_device_capability() if torch.cuda.is_available() else None
    return None


def _cpu_flags() -> set[str]:
    """The CPU's features as Linux lists them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
