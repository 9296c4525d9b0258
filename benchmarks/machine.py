"""What was measured on: the machine, the versions of packages, and the state of the repository."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE / "work" / "peers" / "bin" / "python"  # of `make peers`
PACKAGES = (
    *("flowers", "keras", "tensorflow", "jax", "torch", "numpy", "pillow", "ai-edge-litert"),
    *("onnxruntime", "openvino"),
)


def describe() -> dict:
    """The machine, ready for JSON."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "gpu": gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def words(described: dict) -> str:
    """What `describe` found, in a line."""
    return (
        f"{described.get('cores')} cores of {described.get('cpu')}, "
        f"{described.get('memory_gb')} GB, {described.get('gpu') or 'no GPU'}; "
        f"{described.get('system')}, Python {described.get('python')}"
    )


def gpu() -> str | None:
    """The GPU's name, None without one."""
    told = _said(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return told.split("\n")[0] or None


def versions() -> dict[str, str]:
    """Of the packages that are compared, those that are here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def peers() -> dict[str, str]:
    """PyTorch's version in the peers' own environment; nothing where there is none."""
    code = (
        "import json; from importlib import metadata; print(json.dumps(metadata.version('torch')))"
    )
    told = _said([str(PEERS), "-c", code])
    return {"torch": f"{json.loads(told)} (peers.lock)"} if told else {}


def commit() -> str | None:
    """The commit that was measured, and whether files differ from it; None outside of git.

    The results do not count: they are written while it measures.
    """
    git = ["git", "-C", str(HERE.parent)]
    name = _said([*git, "rev-parse", "--short", "HEAD"])
    but = [":/", ":(exclude,top)benchmarks/RESULTS.*"]
    changed = _said([*git, "status", "--porcelain", "--untracked-files=no", "--", *but])
    return f"{name}, with changes" if changed else name or None


def load() -> float:
    """How many processes wanted a core on average over the last minute."""
    return round(os.getloadavg()[0], 1)


def _said(command: list[str]) -> str:
    """What a command printed; nothing where it is not there or failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def _cpu() -> str:
    """Its name, and which of the fast instructions it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    told = dict(line.split("\t", 1) for line in lines if "\t" in line)
    name = next((v.strip(": ") for k, v in told.items() if k.startswith("model name")), "a CPU")
    flags = next((v for k, v in told.items() if k.startswith("flags")), "").split()
    fast = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16") if flag in flags]
    return f"{name} with {', '.join(fast)}" if fast else name
