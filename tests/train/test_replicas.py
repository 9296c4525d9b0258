"""Several devices and several processes learn what one device learns; one process writes."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import pytest

from flowers.config import Config
from flowers.errors import InputError, WorldError
from flowers.train import device, hosts, training
from flowers.train.batches import Batches
from flowers.train.hosts import Hosts
from flowers.train.replicas import EpochLoss, Replicas
from flowers.train.training import Samples

SCRIPT = Path(__file__).with_name("replicated.py")
NEAR = 1e-5  # how far losses may lie from those of one device
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)


# What is compiled here runs for a moment: optimizing it would take longer.
ON_CPU = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def start(backend, folder, *arguments):
    """The script under a backend, on the CPU."""
    return subprocess.Popen(
        [sys.executable, SCRIPT, folder, *map(str, arguments)],
        env=os.environ | ON_CPU | {"KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process):
    """What a process of the script printed."""
    try:
        out, errors = process.communicate(timeout=900)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory):
    """Runs of one and of two devices under JAX."""
    return result(start("jax", tmp_path_factory.mktemp("jax"), 1, "all"))


@pytest.fixture(scope="module")
def across(tmp_path_factory):
    """Runs of two processes that meet over loopback: what each of them says."""
    folder = tmp_path_factory.mktemp("hosts")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    started = [start("jax", folder, address, 2, process) for process in range(2)]
    try:
        return [result(process) for process in started]
    finally:
        for process in started:
            process.kill()


def assert_near(several, alone):
    """Losses and accuracies of every epoch, and the weights at the end."""
    assert len(several["rows"]) == len(alone["rows"])
    np.testing.assert_allclose(several["rows"], alone["rows"], rtol=0, atol=NEAR)
    np.testing.assert_allclose(several["weights"], alone["weights"], rtol=1e-4, atol=1e-4)


# --- the same numbers ------------------------------------------------------------------------


def assert_two_learn_what_one_learns(found):
    for alone, several in zip(found["1"], found["all"], strict=True):
        assert (alone["devices"], several["devices"]) == (1, 2)
        assert_near(several, alone)
    assert found["taken over"]["saves"] == 2  # an epoch and the phase's end; the first was there
    assert_near(found["taken over"], found["1"][0])
    filling = [found[count][0]["filling"] for count in ("1", "all")]
    assert [len(set(places)) for places in filling] == [1, 2]  # features, on each device some
    assert [found[count][0]["shards"] for count in ("1", "all")] == [2, 2]  # 32 photos are kept
    assert found["too many"][0] == "InputError"
    assert "3 devices" in found["too many"][1]


def test_two_mirrored_devices_learn_what_one_learns(tmp_path):
    found = result(start("tensorflow", tmp_path, 1, "all"))
    assert_two_learn_what_one_learns(found)
    assert [found[count][0]["parts"] for count in ("1", "all")] == [[], [0, 1]]


@needs_jax
def test_two_devices_under_jax_learn_what_one_learns(on_jax):
    assert_two_learn_what_one_learns(on_jax)
    assert [run["parts"] for run in on_jax["1"]] == [[], []]
    # half of 16 photos, of 11 twice, of 13 twice
    assert [run["parts"] for run in on_jax["all"]] == [[8, 11, 13]] * 2


@needs_jax
def test_two_processes_learn_what_one_device_learns(on_jax, across):
    for process in across:
        for alone, several in zip(on_jax["1"], process["runs"], strict=True):
            assert_near(several, alone)


@needs_jax
def test_one_process_writes_and_each_reads_its_part(on_jax, across):
    first, second = across
    assert all(run["saves"] > 0 for run in first["runs"])
    assert all(run["saves"] == 0 for run in second["runs"])
    assert [process["runs"][0]["shards"] for process in across] == [1, 1]  # a file of features each
    for process in across:  # half of 16 photos, of 11 twice, of 13 twice
        assert [run["read"] for run in process["runs"]] == [13, 13]
        assert [run["parts"] for run in process["runs"]] == [[8, 11, 13]] * 2
    assert [run["read"] for run in on_jax["1"]] == [16, 16]
    assert first["alone"] == second["alone"] == [4, 3]


@needs_jax
def test_processes_that_differ_say_so(across):
    for process in across:
        kind, words = process["own folder"]
        assert kind == "InputError"
        assert "--data-dir" in words
        assert process["differ"][0] == "WorldError"


# --- how a batch is shared -------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_a_batch_that_cannot_be_shared_is_repeated_without_weight(processes):
    labels = np.arange(10) % 2
    weights = np.array([1.0, 3.0])

    def batches(process=0, names=("",), processes=1):
        replicas = Replicas(names, processes, process)
        return Batches(
            lambda photos, views, epoch: photos,
            *(np.arange(7), np.zeros(7, int), labels, weights, 4),
            seed=1,
            replicas=replicas,
        )

    plain = batches()
    names = ("", "") if processes == 1 else ("",)
    parts = [batches(process, names, processes) for process in range(processes)]
    for number, copies in enumerate([1, 2]):  # 4 photos, then 3
        photos, one_hot, weigh = plain[number]
        shared = [part[number] for part in parts]
        together = [np.concatenate(arrays) for arrays in zip(*shared, strict=True)]
        assert len({len(arrays[0]) for arrays in shared}) == 1
        np.testing.assert_array_equal(together[0], np.tile(photos, copies))
        real = len(photos)
        np.testing.assert_array_equal(together[1][:real], one_hot)
        np.testing.assert_array_equal(together[2][:real], copies * weigh)
        assert not together[1][real:].any()
        assert not together[2][real:].any()


def test_an_epochs_loss_counts_every_row_once():
    losses = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])  # batches of 4 and 3
    loss = EpochLoss(7, 4, Replicas(("a", "b")))
    loss.note(0, {"loss": losses[:4].mean()})
    mean = (losses[:4].sum() + 2 * losses[4:].sum()) / (4 + 6)
    assert loss.corrected(mean) == pytest.approx(losses.mean())
    assert EpochLoss(7, 4, Replicas()).corrected(5.0) == 5.0


# --- bad input -------------------------------------------------------------------------------


def test_more_devices_than_there_are():
    with pytest.raises(InputError, match="99 devices to train on"):
        device.several(99)


def test_a_backend_that_cannot(monkeypatch):
    with pytest.raises(InputError, match="the JAX backend"):
        device.several(1, Hosts("127.0.0.1:1", 2, 0))
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(InputError, match="tensorflow or jax"):
        device.several(None)


def test_batches_that_the_devices_cannot_share(tmp_path):
    samples = Samples(np.zeros(4, int), np.arange(2), np.arange(2, 4), 2)
    three = Replicas(("a", "b", "c"), scope=nullcontext)
    with pytest.raises(
        InputError, match=r"batches of 16 in phase 'head' and 3 .* Use 1, 2 devices"
    ):
        training.train(None, samples, Config.tiny(), None, tmp_path / "run.npz", print, None, three)


@pytest.fixture
def address():
    """Of a port on this machine that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_processes_meet(address, monkeypatch):
    met = []
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(keras.distribution, "initialize", lambda *given: met.append(given))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda n: hosts.meet(Hosts(address, 3, n), patience=20), [2, 0, 1]))
    assert sorted(met) == [(address, 3, number) for number in range(3)]


@pytest.mark.parametrize(("process", "words"), [(0, "process 1, 2 missing"), (1, "process 0, at")])
def test_nobody_is_waited_for_forever(address, monkeypatch, process, words):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(WorldError, match=words) as caught:
        hosts.meet(Hosts(address, 3, process), patience=0.3)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("127.0.0.1:1234", 2, None), "no process"),
        ((None, 2, 0), "no coordinator"),
        (("127.0.0.1", 2, 0), "HOST:PORT"),
        (("127.0.0.1:99999", 2, 0), "HOST:PORT"),
        (("127.0.0.1:1234", 2, 2), "process 2 of 2"),
        (("127.0.0.1:1234", 0, 0), "process 0 of"),
    ],
)
def test_hosts_that_make_no_sense(given, words):
    with pytest.raises(InputError, match=words):
        hosts.hosts(*given)


def test_hosts_as_keras_takes_them():
    assert hosts.hosts(None, None, None) is None
    assert hosts.hosts("a:1,b:2", 2, 1) == Hosts("a:1", 2, 1)


def test_files_of_a_process_that_stopped_are_not_waited_for_forever(tmp_path):
    with pytest.raises(WorldError, match="1 files of features"):
        hosts.wait_for([tmp_path / "never.npy"], patience=0.2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--devices", "some"], "a number or all"),
        (["--devices", "0"], "a number or all"),
        (["--coordinator", "127.0.0.1:1"], "--processes and --process together"),
        (
            ["--coordinator", "a:1", "--processes", "2", "--process", "1", "--folds", "3"],
            "Leave out --folds",
        ),
    ],
)
def test_bad_options_are_said_before_a_photo_is_opened(run_flowers, options, words):
    done = run_flowers("train", "--data", "nowhere", *options)
    assert done.code == 2
    assert words in done.stderr
    assert "nowhere" not in done.stderr


@needs_jax
def test_an_unreachable_coordinator_is_waited_for_only_so_long(small_folder, tmp_path):
    code = "import flowers.train.hosts as h; h.PATIENCE = 1; from flowers.cli import main; main()"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = ["--data", small_folder, "--backbone", "miniature", "--size", "32"]
    group = {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
        "KERAS_DISTRIBUTION_PROCESS_ID": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, "train", *map(str, options)],
        cwd=tmp_path,
        env=os.environ | group,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr
    assert f"process 0, at 127.0.0.1:{port} within 1 s" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "models").exists()


@needs_jax
def test_of_two_commands_the_first_judges_and_writes(small_folder, address, tmp_path):
    options = ("--data", small_folder, "--data-dir", tmp_path / "cache", "--size", "32")
    options += ("--backbone", "miniature", "--phases", "head", "--epochs", "2")
    started = []
    for number in range(2):
        (tmp_path / f"host-{number}").mkdir()
        group = ON_CPU | {
            "KERAS_BACKEND": "jax",
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
            "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
        }
        started.append(
            subprocess.Popen(
                [Path(sys.executable).with_name("flowers"), "train", *map(str, options)],
                cwd=tmp_path / f"host-{number}",
                env=os.environ | group,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        (shown, steps), (nothing, helped) = (each.communicate(timeout=300) for each in started)
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], steps + helped
    for said in (steps, helped):
        assert "devices: 2 learn together, in 2 processes" in said
        assert "Traceback" not in said
    written = {path.name for path in (tmp_path / "host-0" / "models").iterdir()}
    assert {"flowers.keras", "flowers.json", "flowers"} <= written
    assert "accuracy" in shown
    assert [line for line in nothing.splitlines() if "[Gloo]" not in line] == []  # gloo's own words
    assert list((tmp_path / "host-1").iterdir()) == []
