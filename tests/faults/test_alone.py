"""No network at import, no telemetry, and a lock file of packages without known holes."""

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version

import flowers
from faults import supply

PACKAGE = Path(flowers.__file__).parent


def test_importing_any_module_asks_nobody():
    """Whoever looks up a name or opens a connection at import is noted, and named."""
    names = [
        ".".join(("flowers", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name not in ("__main__.py", "__init__.py")
    ]
    code = (
        "import gc, importlib, sys\n"
        "gc.disable()\n"  # what is imported stays, and looking through it costs seconds
        "asked = []\n"
        "calls = ('socket.connect', 'socket.getaddrinfo', 'socket.sendto', 'urllib.Request')\n"
        "sys.addaudithook(lambda event, facts: asked.append(event) if event in calls else None)\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(asked)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=True
    )
    assert len(names) > 80 and done.stdout.strip() == "[]"


def test_exporting_in_every_format_talks_to_nobody(written):
    """Converters among the packages report what they are used for, unless they are kept from it."""
    if written.calls is None:
        pytest.skip("strace is not here, or may not trace")
    assert not written.calls, "\n".join(written.calls)
    left = [path.name for path in written.home.rglob("*")]
    assert not [name for name in left if "intel" in name.lower() or "telemetry" in name], left


def test_the_locked_packages_are_at_or_above_their_floors():
    assert supply.below_their_floors(supply.locked()) == []
    old = {**supply.locked(), "pillow": [Version("11.0")], "keras": [Version("3.13.2")]}
    assert [line.split()[0] for line in supply.below_their_floors(old)] == ["keras", "pillow"]


def test_what_is_installed_is_what_is_locked():
    from importlib import metadata

    locked = supply.locked()
    for name in supply.FLOORS:
        assert Version(metadata.version(name)) in locked[name], name
