"""Guided fuzzing, by a stand-in for the fuzzer: what ends its process is counted and kept."""

import hashlib
import os

import pytest

from faults import guided

# Says what libFuzzer says. The first process finds something, as far as it is told to.
STAND_IN = """
import os, sys, time
from pathlib import Path
found = next(a.partition("=")[2] for a in sys.argv if a.startswith("-artifact_prefix="))
assert len(list(Path(sys.argv[1]).iterdir())) == 2, "not the seeds"
print("#7 NEW cov: 5 ft: 9 corp: 2/3b")
print("stat::number_of_executed_units: 40")
if not Path(STAMP).exists():
    Path(STAMP).touch()
    Path(found + "crash-1").write_bytes(b"odd")
    print("ValueError: it fell")
    sys.exit(77)
time.sleep(2)
"""


@pytest.fixture
def target(tmp_path, monkeypatch) -> guided.Target:
    code = STAND_IN.replace("STAMP", repr(str(tmp_path / "stamp")))
    (tmp_path / "stand_in.py").write_text(code)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", paths)
    return guided.Target("stand_in", seconds=5, megabytes=100, largest=10, slice=60)


def test_what_ends_the_process_is_counted_and_kept_and_it_goes_on(target, tmp_path):
    outcome = guided.fuzz(target, 2, [b"a", b"b"], tmp_path / "kept")
    name = f"stand_in-{hashlib.sha1(b'odd').hexdigest()[:12]}.bin"
    assert outcome.tries == 80 and "5 branches and 9 features" in outcome.figures
    assert outcome.failures == [f"exit code 77: {name} (crash): ValueError: it fell"]
    assert (tmp_path / "kept" / name).read_bytes() == b"odd"


def test_a_fuzzer_that_does_not_begin_is_a_failure(target, tmp_path):
    outcome = guided.fuzz(target, 5, [b"a"], tmp_path / "kept")
    assert outcome.tries == 0 and len(outcome.failures) == 1
    assert "not the seeds" in outcome.failures[0]
