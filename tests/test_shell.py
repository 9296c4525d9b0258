"""The project's shell: make, the lists of packages, what git keeps, what tests run under."""

import errno
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest
import requests
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


# --- lists of packages -----------------------------------------------------------------------


def requirements(lines: list[str]) -> dict[str, str]:
    """Package -> its floor, such as {"numpy": ">=2.0"}; the project's own extras left out."""
    parsed = map(Requirement, lines)
    return {one.name.lower(): str(one.specifier) for one in parsed if one.name != "flowers"}


def test_environment_yml_asks_for_what_pyproject_asks_for():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *plain, pip = environment["dependencies"]
    *listed, project = pip["pip"]
    wanted = [*PROJECT["dependencies"]]
    for extra in ("train", "notebooks", "serve", "export", "tune", "jax", "score", "ray", "dev"):
        wanted += EXTRAS[extra]
    assert requirements(listed) == requirements(wanted)
    assert plain == [f"python {PROJECT['requires-python']}", "pip"]
    assert project == "-e ."


def test_environment_yml_gives_a_reason_beside_each_package():
    lines = (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if re.match(r" +- \w[\w-]*( ?>=\S+)?( |$)", line)]
    reasons = [line.partition(" # ")[2] for line in packages if "conda-forge" not in line]
    assert len(reasons) > 25
    assert all(len(reason.split()) >= 2 for reason in reasons), reasons
    assert len(set(reasons)) == len(reasons)


def test_the_lock_file_holds_every_direct_dependency_at_or_above_its_floor():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {name.lower(): Version(v) for name, v in re.findall(r"^([\w.-]+)==(\S+)", lock, re.M)}
    wanted = [*PROJECT["dependencies"], *EXTRAS["dev"]]
    for extra in ("train", "notebooks", "serve", "export", "tune", "score", "ray"):
        wanted += EXTRAS[extra]
    low = {
        name: floor
        for name, floor in requirements(wanted).items()
        if name not in locked or not Requirement(name + floor).specifier.contains(locked[name])
    }
    assert low == {}, "`make lock` writes requirements.lock anew"


@pytest.mark.parametrize(
    ("lock", "least"), [("requirements.lock", 100), ("tests/faults/tools.lock", 20)]
)
def test_every_locked_package_has_a_hash(lock, least):
    blocks = re.split(r"^(?=[\w.-]+==)", (ROOT / lock).read_text("utf-8"), flags=re.M)
    assert len(blocks) > least
    assert [block for block in blocks[1:] if "--hash=sha256:" not in block] == []


def test_the_tools_lie_beside_the_packages_and_are_of_the_same_versions():
    def locked(name: str) -> set[tuple[str, str]]:
        return set(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text("utf-8"), re.M))

    ours, tools = locked("requirements.lock"), locked("tests/faults/tools.lock")
    shared = {name for name, _ in ours} & {name for name, _ in tools}
    assert len(shared) > 10
    assert {one for one in tools if one[0] in shared} <= ours
    assert {"atheris", "pip-audit", "schemathesis"} <= {name for name, _ in tools - ours}


PARALLEL = "-n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder"

# --- make ------------------------------------------------------------------------------------

# Stands in for Python: makes an environment of a Python that only notes what it is asked for.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  "-c "*ensurepip*) exit ${NO_VENV:-0} ;;
  "-c "*"print("*) echo "${VERSION:-3.12}" ;;
  "-c "*sys.exit*) case "${VERSION:-3.12}" in 3.11|3.12|3.13) exit 0 ;; *) exit 1 ;; esac ;;
  --version) echo "Python ${VERSION:-3.12}" ;;
  "-m venv "*)
    mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/flowers
    echo venv >> calls ;;
  "-m pip "*--require-hashes*)
    echo packages >> calls
    if [ "$INSTALLATION" = killed ]; then kill -9 $PPID; exit 1; fi
    if [ "$INSTALLATION" = refused ]; then echo "no such host" >&2; exit 1; fi ;;
  "-m pip "*) echo project >> calls ;;
  *) echo "$(basename "$0") $*" >> calls ;;
esac
"""


class Make:
    """A project folder with the real Makefile and a stand-in for Python."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        shutil.copy(ROOT / "Makefile", folder)
        for name in ("requirements.lock", "pyproject.toml"):
            (folder / name).touch()
        self.python = folder / "python3"
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env={"PATH": f"{self.folder}:{os.environ['PATH']}"} | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def calls(self) -> list[str]:
        """What Python was asked for since the last look."""
        notes = self.folder / "calls"
        lines = notes.read_text().splitlines() if notes.exists() else []
        notes.unlink(missing_ok=True)
        return lines


@pytest.fixture
def make(tmp_path: Path) -> Make:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return Make(tmp_path / "my flowers")


WHOLE_INSTALLATION = ["venv", "packages", "project"]


def test_make_alone_prints_help_and_every_target(make):
    shown = make().stdout
    targets = re.search(r"^\.PHONY: (help .*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    assert [line.split()[0] for line in shown.splitlines()[1:-1]] == targets
    assert make.calls() == []


def test_make_installs_once_in_a_folder_with_a_space(make):
    first = make("train", "ARGS=--data painted")
    assert first.returncode == 0, first.stderr
    assert make.calls() == [*WHOLE_INSTALLATION, "flowers train --data painted"]
    make("train")
    assert make.calls() == ["flowers train"]


def test_make_test_runs_the_notebooks_once_there_are_some(make):
    make("test")
    assert make.calls()[3:] == [f"python -m pytest {PARALLEL}"]
    (make.folder / "notebooks").mkdir()
    (make.folder / "notebooks" / "01.ipynb").touch()
    make("test")
    assert make.calls() == [
        f"python -m pytest {PARALLEL}",
        "python -m pytest --nbval notebooks",
    ]
    make("test", "ARGS=-x")
    assert make.calls() == ["python -m pytest -x"]


def test_make_tools_installs_them_into_a_folder_of_their_own(make):
    (make.python).write_text(FAKE_PYTHON.replace("echo packages", 'echo "$*"'))
    assert make("tools").returncode == 0
    *_, called = make.calls()
    assert "--target .venv/tools" in called and "-r tests/faults/tools.lock" in called


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_make_brings_the_packages_up_to_date_when_a_list_changes(make, name):
    make("train")
    make.calls()
    later = (make.folder / ".venv" / "installed").stat().st_mtime + 10
    os.utime(make.folder / name, (later, later))
    make("train")
    assert make.calls()[:2] == ["packages", "project"]


@pytest.mark.parametrize("end", ["killed", "refused"])
def test_make_starts_over_after_an_installation_that_did_not_end(make, end):
    broken = make("train", INSTALLATION=end)
    assert broken.returncode != 0
    assert make.calls() == ["venv", "packages"]
    if end == "refused":
        assert "no such host" in broken.stderr
        assert "run the same command again" in broken.stderr
    (make.folder / ".venv" / "half-written").touch()
    again = make("train")
    assert "was not finished" in again.stdout
    assert make.calls() == [*WHOLE_INSTALLATION, "flowers train"]
    assert not (make.folder / ".venv" / "half-written").exists()


def test_make_starts_over_in_a_folder_that_was_copied(make, tmp_path):
    make("train")
    copy = shutil.copytree(make.folder, tmp_path / "copy")
    make.calls()
    make.folder = copy
    assert "made in another folder" in make("train").stdout
    make.calls()
    make("train")
    assert make.calls() == ["flowers train"]


@pytest.mark.parametrize("version", ["2.7", "3.10", "3.14"])
def test_make_refuses_a_python_without_packages_in_plain_words(make, version):
    refused = make("train", "PYTHON=python3", VERSION=version)
    assert refused.returncode == 2
    assert "Expected Python 3.11, 3.12 or 3.13" in refused.stderr
    assert f"python3 is {version}" in refused.stderr
    assert "PYTHON=python3.12" in refused.stderr
    assert not (make.folder / ".venv").exists()


def test_make_takes_another_python_when_the_first_does_not_fit(make):
    (make.folder / "python3.11").write_text(FAKE_PYTHON)
    (make.folder / "python3.11").chmod(0o755)
    for newer in ("python3", "python3.12", "python3.13"):
        (make.folder / newer).write_text("#!/bin/sh\nexit 1\n")
        (make.folder / newer).chmod(0o755)
    assert make("train").returncode == 0
    assert make.calls()[0] == "venv"


def test_make_names_the_package_when_python_has_no_venv(make):
    refused = make("train", NO_VENV="1")
    assert refused.returncode == 2
    assert "apt install python3-venv" in refused.stderr
    assert not (make.folder / ".venv").exists()


# --- git, licence, continuous integration ----------------------------------------------------


def test_photos_models_and_environments_stay_out_of_git():
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout")
    ours = ("data/README.md", "models/README.md", "notebooks/sanitize.cfg")
    yours = ("data/rose/1.jpg", "models/flowers.keras", ".venv/bin/python", "notebooks/models/x")
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", *ours, *yours],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == list(yours)
    for readme in ours:
        assert (ROOT / readme).is_file()


def test_the_licence_is_the_whole_of_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license"] == "Apache-2.0"


def test_continuous_integration_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[0] == "#!/usr/bin/env bash"
    assert script.read_text().rstrip().endswith("exec make test")
    subprocess.run(["bash", "-n", script], check=True)


# --- what tests and notebooks run under ------------------------------------------------------

ELSEWHERE = "192.0.2.1"  # reserved for documentation: nobody is there


def test_other_machines_cannot_be_reached():
    with socket.socket() as plug:
        with pytest.raises(OSError, match="offline"):
            plug.connect((ELSEWHERE, 443))
        assert plug.connect_ex((ELSEWHERE, 443)) == errno.ENETUNREACH
    with pytest.raises(socket.gaierror, match="offline"):
        socket.create_connection(("example.org", 443))
    with pytest.raises(requests.ConnectionError):
        requests.get("https://example.org/flowers.zip")


def test_processes_that_a_test_starts_are_offline_too():
    code = f"import socket; socket.create_connection(('{ELSEWHERE}', 443))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "tests run offline" in done.stderr


def test_a_server_on_this_machine_can_be_reached(tmp_path):
    (tmp_path / "rose.txt").write_text("red")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://localhost:{server.server_port}/rose.txt"
        try:
            assert requests.get(address).text == "red"
            with urllib.request.urlopen(address) as answer:
                assert answer.read() == b"red"
        finally:
            server.shutdown()
            thread.join()


def test_caches_are_empty_and_secrets_are_gone():
    for name in ("KERAS_HOME", "KAGGLEHUB_CACHE", "KAGGLE_CONFIG_DIR"):
        assert not Path(os.environ[name]).is_relative_to(Path.home())
    assert not {"KAGGLE_API_TOKEN", "KAGGLE_KEY", "FLOWERS_DATA"} & set(os.environ)


def test_the_small_folder_is_three_easy_classes_of_different_photos(small_folder):
    photos = sorted(small_folder.rglob("*.jpg"))
    assert [path.name for path in sorted(small_folder.iterdir())] == [
        "circle",
        "square",
        "triangle",
    ]
    assert len(photos) == 36
    colour = {path: np.asarray(Image.open(path), float).mean((0, 1)) for path in photos}
    strongest = {path: path.parent.name for path in photos}
    channels = {"circle": 0, "square": 1, "triangle": 2}
    right = [np.argmax(colour[path]) == channels[name] for path, name in strongest.items()]
    assert np.mean(right) >= 0.9
    assert len({path.read_bytes() for path in photos}) == 36


# --- notebooks -------------------------------------------------------------------------------


def notebook(*cells: tuple[str, str]) -> nbformat.NotebookNode:
    """A notebook of executed cells, each given as its source and what it printed."""
    book = nbformat.v4.new_notebook()
    for number, (source, text) in enumerate(cells, 1):
        printed = nbformat.v4.new_output("stream", name="stdout", text=text)
        cell = nbformat.v4.new_code_cell(source, execution_count=number, outputs=[printed])
        book.cells.append(cell)
    return book


def test_nbval_compares_figures_forgives_durations_and_runs_offline(tmp_path):
    for name in ("conftest.py", "notebooks/sanitize.cfg", "tests/offline/sitecustomize.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    book = notebook(
        ("print('took 1.5 s at', object())", "took 73 ms at <object object at 0x7f0123456789>\n"),
        ("print('accuracy', 0.93)", "accuracy 0.94\n"),
        (
            f"import socket\nprint(socket.socket().connect_ex(('{ELSEWHERE}', 80)))",
            f"{errno.ENETUNREACH}\n",
        ),
    )
    nbformat.write(book, tmp_path / "notebooks" / "lesson.ipynb")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "notebooks", "-p", "no:cacheprovider", "-rA"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    results = re.findall(r"^(PASSED|FAILED|ERROR) \S*ipynb::Cell (\d)", done.stdout, re.M)
    assert sorted(results, key=lambda one: one[1]) == [
        ("PASSED", "0"),
        ("FAILED", "1"),
        ("PASSED", "2"),
    ], done.stdout + done.stderr
