"""What the benchmarks share, and the runner: what is kept, of whom, and how it is told."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_what_ours_never_did_is_no_target_met(imported):
    row = imported("interleaved").Row
    sides = ("ours", "theirs"), (1.0,), (10.0,)
    assert row("it", "s", *sides, ("at most", 0.2)).met
    missed = row("it", "s", *sides, ("at most", 0.2), missed=True)
    assert missed.met is False and missed.as_dict()["met"] is False
    assert row("it", "s", *sides, missed=True).met is None


def test_one_run_has_no_spread(imported):
    interleaved = imported("interleaved")
    row = interleaved.Row("it", "s", ("ours", "the limit"), (1.0,), (4.0,), given=True)
    assert "| ours: 1 s (one run) | the limit: 4 s |" in interleaved.table([row.as_dict()])
    row = interleaved.Row("it", "", ("ours", "theirs"), (1.0,), (3.0, 5.0))
    assert "| ours: 1 (one run) | theirs: 4 (spread 50%) |" in interleaved.table([row.as_dict()])


def test_every_round_is_kept_before_the_next_may_fail(imported):
    kept, values = [], iter([1.0, 2.0])
    with pytest.raises(StopIteration):
        imported("interleaved").measure(
            {"A": lambda: next(values)}, rounds=3, after=lambda: kept.append(1)
        )
    assert len(kept) == 2


def test_a_peak_is_that_of_the_command_alone(imported):
    """Not of whoever starts it: this process holds 300 MB meanwhile."""
    interleaved, held = imported("interleaved"), bytearray(b"x") * 300_000_000
    megabytes = [
        interleaved.peak([sys.executable, "-S", "-c", code])[1]
        for code in ("pass", "held = bytearray(b'x') * 100_000_000")
    ]
    assert len(held) and 0 < megabytes[0] < 100 <= megabytes[1] < 200
    with pytest.raises(SystemExit, match="ended with 3:\ntoo bad"):
        interleaved.peak(["sh", "-c", "echo too bad >&2; exit 3"])


def test_whoever_is_stopped_stops_what_it_has_started(imported, tmp_path):
    waiting = tmp_path / "waiting.py"
    waiting.write_text("import time; print('waiting', flush=True); time.sleep(1000)")
    told = tmp_path / "told"
    code = f"exec {sys.executable} {waiting} > {told}"
    inner = f"import subprocess; subprocess.run(['sh', '-c', {code!r}])"
    outer = (
        "import sys, interleaved; interleaved.stop_when_asked()\n"
        f"interleaved.finished([sys.executable, '-c', {inner!r}])"
    )
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS)}
    process = subprocess.Popen(
        [sys.executable, "-c", outer], env=environment, stderr=subprocess.PIPE
    )
    while not (told.is_file() and told.read_text()):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    process.communicate(timeout=60)  # until nobody holds the other end of the pipe any more
    assert process.returncode == 128 + signal.SIGTERM


def test_commands_keep_their_bytecode_whatever_the_user_says(imported, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = imported("cold")._environment()
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert Path(environment["PYTHONPYCACHEPREFIX"]).is_relative_to(BENCHMARKS / "work")


# --- the runner -----------------------------------------------------------------------------


def test_results_keep_what_people_wrote_and_what_was_measured_before(
    imported, monkeypatch, tmp_path
):
    bench = imported("bench")
    page = tmp_path / "RESULTS.md"
    page.write_text(f"# Results\n\n{bench.BEGIN}\nyesterday\n{bench.END}\n\n## By hand\n")
    for name in ("growth", "cold"):
        monkeypatch.setattr(bench, "run", lambda point, *_: entry(imported, point.name))
        monkeypatch.setattr(sys, "argv", ["bench.py", name, "--out", str(tmp_path)])
        bench.main()
    text = page.read_text()
    assert text.startswith("# Results\n") and text.endswith("\n\n## By hand\n")
    assert (
        "yesterday" not in text and "| what cold does |" in text and "| what growth does |" in text
    )
    assert "Not measured yet: `make bench ARGS=predicting`" in text
    kept = json.loads((tmp_path / "RESULTS.json").read_text())
    assert list(kept["points"]) == ["cold", "growth"]
    assert kept["points"]["cold"]["rows"][0]["sides"]["ours"]["values"] == [1, 2]
    assert "commit abc, 1 minutes, load 0.1 before and 0.2 after, on 2 cores of cold's CPU" in text
    assert "2 cores of growth's CPU" in text  # each point was measured on a machine of its own
    assert "needs a GPU, and none was at hand: `make bench ARGS=gpu-phases`" in text


def test_results_of_before_keep_the_machine_they_name(imported, tmp_path):
    bench, page = imported("bench"), tmp_path / "RESULTS.json"
    old = entry(imported, "cold")
    machine = old.pop("machine")
    del old["commit"], old["load_after"]
    page.write_text(json.dumps({"machine": machine, "points": {"cold": old}}))
    held = bench._read(page)
    assert held["points"]["cold"]["machine"] == machine
    assert "load 0.1 before and unknown after, on 2 cores of cold's CPU" in bench.as_text(held)


@pytest.mark.parametrize("limit", [None, 2.0])
def test_what_a_script_wrote_before_it_failed_is_kept(limit, imported, monkeypatch, tmp_path):
    bench = imported("bench")
    rows = entry(imported, "it")["rows"]
    ending = "sys.exit(3)" if limit is None else "time.sleep(100)"
    code = f"pathlib.Path(sys.argv[2]).write_text({json.dumps(rows)!r}); {ending}"
    (tmp_path / "script.py").write_text(f"import pathlib, sys, time\n{code}\n")
    monkeypatch.setattr(bench, "HERE", tmp_path)
    point = bench.Point("it", "It", "script.py", (), (), 1)
    monkeypatch.setattr(sys, "argv", ["bench.py"])
    found = bench.run(point, bench._arguments(), limit)
    assert found["error"] == ("ended with 3" if limit is None else "stopped after 2 s")
    assert found["rows"] == rows and found["machine"]["cores"]
    text = "\n".join(bench._section(found))
    assert f"**Failed**: {found['error']}. What it had measured before:" in text
    assert "| what it does |" in text


def test_points_for_a_gpu_are_left_out_where_there_is_none(imported, monkeypatch, tmp_path):
    bench = imported("bench")
    ran = []
    monkeypatch.setattr(
        bench, "run", lambda point, *_: ran.append(point.name) or entry(imported, point.name)
    )
    for gpu in (None, "a GPU"):
        monkeypatch.setattr(bench.machine, "gpu", lambda gpu=gpu: gpu)
        monkeypatch.setattr(
            sys, "argv", ["bench.py", "gpu-phases", "gpu-cifar", "--out", str(tmp_path)]
        )
        bench.main()
        assert ran == (["gpu-phases", "gpu-cifar"] if gpu else [])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # this process ends as it did


def entry(imported, name: str) -> dict:
    row = imported("interleaved").Row
    made = row(f"what {name} does", "s", ("ours", "theirs"), (1.0, 2.0), (3.0, 4.0))
    told = {"command": "python x", "quick": False, "date": "2026-11-21", "minutes": 1}
    told |= {"load_before": 0.1, "load_after": 0.2, "commit": "abc"}
    told |= {"machine": {"cores": 2, "cpu": f"{name}'s CPU"}, "versions": {"keras": "3"}}
    return told | {"rows": [made.as_dict()], "text": ""}
