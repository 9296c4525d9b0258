"""What the project is made of: floors below which a package is not safe, and who is talked to.

`python -m faults.supply` is `make audit`: pip-audit over the lock file where that is installed and
its data can be reached, and the floors below in any case.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]

# Below these a known hole lets a stranger in where this project lets strangers' bytes in.
FLOORS = {
    "keras": (">=3.12.4,!=3.13.*,!=3.14.*,!=3.15.0", "crafted .keras files pass its safe mode"),
    "pillow": (">=12.3", "decoders that read or write out of bounds"),
    "gunicorn": (">=26", "requests smuggled by odd headers"),
    "werkzeug": (">=3.0.6", "forms that fill the memory"),
    "waitress": (">=3.0.1", "a race over a connection that has gone"),
    "jinja2": (">=3.1.6", "templates that leave their sandbox"),
    "requests": (">=2.32.4", "credentials sent to another host"),
    "urllib3": (">=2.6.0", "compressed answers that fill the memory"),
    "protobuf": (">=6.31.1", "messages nested until the stack is full"),
    "onnx": (">=1.17", "files written outside the folder"),
}


def locked(lock: Path = ROOT / "requirements.lock") -> dict[str, list[Version]]:
    """Package -> the versions that the lock file names, one for each range of Pythons."""
    found: dict[str, list[Version]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", lock.read_text("utf-8"), re.MULTILINE):
        found.setdefault(name.lower(), []).append(Version(version))
    return found


def below_their_floors(versions: dict[str, list[Version]]) -> list[str]:
    """A line for each locked package that is below its floor, or missing."""
    low = []
    for name, (floor, reason) in FLOORS.items():
        for version in versions.get(name, [Version("0")]):
            if not SpecifierSet(floor).contains(version):
                low.append(f"{name} {version} is not {floor}: {reason}")
    return low


def main() -> int:
    """Prints what was found; 0 when that is nothing, 2 otherwise."""
    low = below_their_floors(locked())
    print("\n".join(low) or f"floors: all of {len(FLOORS)} packages are at or above theirs")
    program = shutil.which("pip-audit", path=str(Path(sys.executable).parent)) or shutil.which(
        "pip-audit"
    )
    if program is None:
        print("pip-audit is not installed: known holes were not looked up, only the floors above")
        return 2 if low else 0
    command = [program, "--requirement", str(ROOT / "requirements.lock"), "--disable-pip"]
    done = subprocess.run(
        [*command, "--require-hashes", "--progress-spinner", "off"], capture_output=True, text=True
    )
    print(done.stdout + done.stderr)
    unreachable = re.search(r"ConnectionError|Max retries|resolve|timed out", done.stderr)
    if done.returncode and unreachable:
        print("pip-audit's data cannot be reached: only the floors above were looked at")
        return 2 if low else 0
    return 2 if low or done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
