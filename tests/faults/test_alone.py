"""No network at import, no telemetry, and a lock file of packages without known holes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version

import flowers
from faults import supply, tools

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


FINE = {"name": "pillow", "version": "13.0", "vulns": []}
HOLE = {"name": "keras", "version": "3.1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.2"]}]}
UNKNOWN = {"name": "onnx", "skip_reason": "Dependency not found and could not be audited"}


@pytest.mark.parametrize(
    ("told", "code", "says"),
    [
        ([FINE], 0, "known holes: 0 in 1 packages"),
        ([FINE, HOLE], 2, "known hole: keras 3.1: PYSEC-1, mended in 3.2"),
        ([FINE, UNKNOWN], 3, "no such data about 1 of 2 packages"),
        (None, 3, "not looked up. pip-audit ended with 1: ConnectionError: no network"),
    ],
)
def test_the_audit_says_what_it_could_not_look_up(tmp_path, monkeypatch, capsys, told, code, says):
    stand_in = tmp_path / "pip_audit" / "__main__.py"
    stand_in.parent.mkdir()
    answer = json.dumps({"dependencies": told})
    stand_in.write_text(
        f"print({answer!r})" if told else "import sys; sys.exit('ConnectionError: no network')"
    )
    monkeypatch.setattr(tools, "PLACE", tmp_path)
    assert supply.main() == code
    printed = capsys.readouterr()
    assert says in printed.out + printed.err and "floors: all of" in printed.out


def test_the_audit_without_pip_audit_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tools, "PLACE", tmp_path)
    assert supply.main() == 3
    assert "make tools" in capsys.readouterr().err
