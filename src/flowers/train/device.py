"""What the machine computes on, and in which precision that pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from flowers.errors import InputError
from flowers.train import hosts
from flowers.train.hosts import Hosts
from flowers.train.replicas import ONE, Replicas

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


def several(
    wanted: int | None = 1,
    found: Hosts | None = None,
    folder: Path = Path("data"),
    say: Callable[[str], None] = lambda line: None,
) -> Replicas:
    """The devices that learn together.

    Args:
        wanted: how many of this process; None for all. They are GPUs, or where there is none what
            the backend shows of the CPU, which is one device unless it was told to show more.
        found: other processes that take part; each brings as many devices.
        folder: for caches, which all of them must see.
        say: receives a line where there is more than one device.

    Raises:
        InputError: there are fewer devices, the backend has no such way, or each process has a
            folder of its own.
        WorldError: another process is not there.
    """
    if found is not None:
        hosts.meet(found)
    replicas = _replicas(wanted, found is not None)
    hosts.require_shared(replicas.processes, replicas.process, folder)
    if replicas.count > 1:
        processes = f", in {replicas.processes} processes" if replicas.processes > 1 else ""
        say(f"devices: {replicas.count} learn together{processes}")
    return replicas


def _replicas(wanted: int | None, met: bool) -> Replicas:
    if wanted == 1 and not met:
        return ONE
    match keras.backend.backend():
        case "tensorflow":
            return _tensorflow_replicas(wanted)
        case "jax":
            return _jax_replicas(wanted)
    raise InputError(
        "a backend whose devices can learn together: tensorflow or jax",
        f"KERAS_BACKEND is {keras.backend.backend()}",
        "Set KERAS_BACKEND to one of them, or leave out --devices.",
    )


def _tensorflow_replicas(wanted: int | None) -> Replicas:
    """Devices of this machine under `tf.distribute.MirroredStrategy`."""
    import tensorflow as tf

    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    names = tuple(names[: _enough(wanted, [len(names)], kind)])
    if len(names) == 1:
        return ONE
    strategy = tf.distribute.MirroredStrategy(names)

    def index() -> object:
        return tf.distribute.get_replica_context().replica_id_in_sync_group

    return Replicas(names, scope=strategy.scope, index=index)


def _jax_replicas(wanted: int | None) -> Replicas:
    """Devices of this process and the others under `keras.distribution.DataParallel`."""
    import jax

    processes, process = jax.process_count(), jax.process_index()
    owned = [[] for _ in range(processes)]
    for device in jax.devices():
        owned[device.process_index].append(f"{device.platform}:{device.id}")
    kind = jax.devices()[0].platform.upper()
    each = _enough(wanted, [len(names) for names in owned], kind)
    if each * processes == 1:
        return ONE
    owned = [names[:each] for names in owned]
    everyone = [name for names in owned for name in names]
    # `Batches` reads the rows of this process alone, so there is nothing for Keras to share out
    parallel = keras.distribution.DataParallel(devices=everyone, auto_shard_dataset=False)
    return Replicas(tuple(owned[process]), processes, process, parallel.scope)


def _enough(wanted: int | None, there: list[int], kind: str) -> int:
    """How many devices each process brings.

    Args:
        wanted: None for all.
        there: how many each process has.
        kind: "GPU" or "CPU".

    Raises:
        InputError: a process has fewer, or they have different numbers and all are wanted.
    """
    counts = " and ".join(map(str, sorted(set(there))))
    if wanted is None and len(set(there)) > 1:
        raise InputError(
            "as many devices in every process",
            f"{counts} of kind {kind}",
            "Name a number that all of them have: --devices.",
        )
    if wanted is not None and wanted > min(there):
        raise InputError(
            f"{wanted} devices to train on",
            f"{counts} of kind {kind}",
            "Use --devices all, or a smaller number.",
        )
    return wanted or there[0]


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
