"""What the project is made of: floors below which a package is not safe, and who is talked to.

`python -m faults.supply` is `make audit`: the floors below in any case, and the known holes of
what requirements.lock names where pip-audit is installed (`make tools`) and the index tells them.
It ends with 0 when all were looked up and there are none, with 2 when there is one or a package is
below its floor, and with 3 when the floors alone could be looked at.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from faults import tools

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


@dataclass(frozen=True)
class Answer:
    """What the package index told: a line a hole, of how many packages out of how many it knows
    such things, and why nobody could be asked ("" where that went well)."""

    holes: tuple[str, ...] = ()
    told: int = 0
    asked: int = 0
    problem: str = ""


def known_holes(lock: Path = ROOT / "requirements.lock") -> Answer:
    """Asks the package index, through pip-audit, about every package of a lock file.

    pip-audit leaves out what the index has no data about, and then ends well: that is no answer.
    """
    if not tools.installed("pip_audit"):
        return Answer(problem="pip-audit is not installed (`make tools` does that)")
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip"]
    command += ["--require-hashes", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, env=tools.environment())
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return Answer(problem=f"pip-audit ended with {done.returncode}: {last[:300]}")
    told = [each for each in packages if "skip_reason" not in each]
    holes = tuple(
        f"{each['name']} {each['version']}: {hole['id']}, mended in "
        f"{', '.join(hole['fix_versions']) or 'no version yet'}"
        for each in told
        for hole in each["vulns"]
    )
    return Answer(holes, len(told), len(packages))


def main() -> int:
    """Prints what was found; 0 when that is nothing, 2 when it is something, 3 when not all could
    be looked up."""
    low, answer = below_their_floors(locked()), known_holes()
    print("\n".join(low) or f"floors: all of {len(FLOORS)} packages are at or above theirs")
    for hole in answer.holes:
        print(f"known hole: {hole}")
    if answer.problem:
        print(f"known holes: not looked up. {answer.problem}", file=sys.stderr)
    elif answer.told < answer.asked:
        missing = answer.asked - answer.told
        print(
            f"known holes: the package index has no such data about {missing} of {answer.asked} "
            "packages, which were not looked up. Ask again where it can be reached directly.",
            file=sys.stderr,
        )
    else:
        print(f"known holes: {len(answer.holes)} in {answer.told} packages")
    if low or answer.holes:
        return 2
    return 3 if answer.problem or answer.told < answer.asked else 0


if __name__ == "__main__":
    sys.exit(main())
