"""The files for hosts: what they name is there, and what they must not do they do not."""

import re
import tomllib
from pathlib import Path

import yaml

from flowers.web import gunicorn_settings, wsgi
from flowers.web.limits import PageLimits

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ["gunicorn", "--config", "python:flowers.web.gunicorn_settings"]


def test_all_hosts_run_the_same_command():
    assert (ROOT / "Procfile").read_text().split() == ["web:", *COMMAND]
    docker = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"\nCMD (.*)", docker)[0].replace('"', "").strip("[]").split(", ") == COMMAND
    (service,) = yaml.safe_load((ROOT / "render.yaml").read_text())["services"]
    assert (ROOT / service["dockerfilePath"]).is_file() and service["healthCheckPath"] == "/livez"


def test_the_image_copies_what_the_build_is_given_and_does_not_run_as_root():
    docker = (ROOT / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"\nCOPY (.*)", docker) for name in line.split()[:-1]}
    let_in = set(re.findall(r"^!(.*)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert copied == let_in
    assert (ROOT / "src").is_dir() and copied >= {
        "models/flowers.int8.tflite",
        "models/flowers.json",
    }
    assert docker.rindex("\nUSER 10001") > docker.rindex("\nRUN ")


def test_serving_installs_no_tensorflow():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["serve"]
    names = {re.match(r"[\w-]+", each)[0].lower() for each in needed}
    assert not names & {"tensorflow", "keras", "pandas", "scipy", "scikit-learn", "matplotlib"}
    assert {"flask", "gunicorn", "waitress", "ai-edge-litert"} <= names


def test_one_process_with_threads_enough_to_say_no():
    limits = PageLimits()
    assert (gunicorn_settings.worker_class, gunicorn_settings.workers) == ("gthread", 1)
    assert gunicorn_settings.threads > limits.at_once + limits.queue
    assert not hasattr(gunicorn_settings, "preload_app")
    module, _, call = gunicorn_settings.wsgi_app.partition(":")
    assert module == wsgi.__name__ and callable(getattr(wsgi, call.removesuffix("()")))


def test_what_the_image_makes_of_the_lock_file_are_versions():
    """The same two edits as the Dockerfile's `sed`."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    kept = [re.sub(r" \\$", "", line) for line in lines if not re.match(r" +--hash", line)]
    stated = re.compile(r"|[ ]*#.*|[\w.-]+(\[[\w,-]+\])?==\S+( ; .+)?")
    assert [line for line in kept if not stated.fullmatch(line)] == []
    assert sum("==" in line for line in kept) > 50
