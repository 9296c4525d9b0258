"""The notebooks as they are committed: their form, and that nbval really holds them to it."""

import ast
import itertools
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"][
    "Repository"
]
README = (ROOT / "README.md").read_text("utf-8")
IGNORED = "# NBVAL_IGNORE_OUTPUT"
BOOKS = {path.name: nbformat.read(path, 4) for path in sorted(FOLDER.glob("*.ipynb"))}
each_book = pytest.mark.parametrize("name", BOOKS)


def colab(name: str) -> str:
    """Where Colab opens a notebook of the repository."""
    place = ADDRESS.removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{place}/blob/main/notebooks/{name}"


def cells(name: str, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in BOOKS[name].cells if cell.cell_type == kind]


def python(cell: nbformat.NotebookNode) -> str:
    """A cell's source without what is IPython and not Python."""
    return re.sub(r"^(\s*)%.*$", r"\1pass", cell.source, flags=re.M)


def texts(cell: nbformat.NotebookNode) -> list[str]:
    """What nbval compares of a cell's outputs."""
    found = []
    for output in cell.outputs:
        if output.output_type == "stream":
            found.append(output.text)
        found += [text for kind, text in output.get("data", {}).items() if "image" not in kind]
    return found


def prose(name: str) -> int:
    """Words in the markdown of a notebook, links and badges left out."""
    text = "\n".join(cell.source for cell in cells(name, "markdown"))
    return len(re.sub(r"\]\([^)]*\)", "]", text).split())


# --- form ------------------------------------------------------------------------------------


def test_the_lessons_are_numbered_without_a_gap():
    numbers = [int(name[:2]) for name in BOOKS]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1


@each_book
def test_is_as_long_as_a_lesson_may_be(name):
    assert 25 <= len(BOOKS[name].cells) <= 45
    code = [cell.source.splitlines() for cell in cells(name, "code")]
    assert max(map(len, code)) <= 20
    lines = sum(1 for source in code for line in source if line.strip())
    assert 5 <= prose(name) / lines <= 10
    assert (FOLDER / name).stat().st_size <= 300_000


@each_book
def test_says_something_before_each_code_cell(name):
    kinds = [cell.cell_type for cell in BOOKS[name].cells]
    assert kinds[0] == "markdown"
    assert all(before == "markdown" for before, kind in itertools.pairwise(kinds) if kind == "code")


@each_book
def test_begins_with_title_aims_badge_and_guarded_installation(name):
    first, install = BOOKS[name].cells[:2]
    assert first.source.startswith(f"# {int(name[:2])}. ")
    assert "**At the end you will know**" in first.source
    badge = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    assert f"{badge}({colab(name)})" in first.source
    guard, installation = install.source.split("\n")[-2:]
    assert guard == 'if "google.colab" in sys.modules:'
    extra = "export" if "export" in name else "train"
    assert installation == f'    %pip install --quiet "flowers[{extra}] @ git+{ADDRESS}"'


@each_book
def test_ends_with_what_to_change_and_a_cell_that_holds_it_to_its_word(name):
    before, last = BOOKS[name].cells[-2:]
    assert "## What to change" in before.source
    claims = [node for node in ast.walk(ast.parse(last.source)) if isinstance(node, ast.Assert)]
    assert len(claims) >= 3


@each_book
def test_headings_are_in_order(name):
    text = "\n".join(cell.source for cell in cells(name, "markdown"))
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, re.M)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(level <= before + 1 for before, level in itertools.pairwise(levels))
    assert len(levels) >= 4


@each_book
def test_names_no_place_but_the_repository(name):
    text = (FOLDER / name).read_text("utf-8")
    assert re.findall(r"(?<![\w.:/])/(?:home|root|tmp|work|usr|var|Users|content)/\S*", text) == []
    assert re.findall(r"\b[A-Z]:\\\\\w+", text) == []
    owner = ADDRESS.rsplit("/", 1)[0]
    elsewhere = re.findall(r"https://github\.com/[\w-]+", text)
    assert all(address == owner for address in elsewhere)


@each_book
def test_links_lead_to_notebooks_that_are_there(name):
    text = "\n".join(cell.source for cell in cells(name, "markdown"))
    linked = set(re.findall(r"\]\((\w+\.ipynb)\)", text))
    assert linked <= set(BOOKS)


@each_book
def test_the_readme_opens_it_here_and_in_colab(name):
    (row,) = re.findall(rf"^\| {int(name[:2])} \| .*$", README, re.M)
    assert f"](notebooks/{name})" in row
    assert f"]({colab(name)})" in row


def test_nothing_is_defined_twice():
    """A helper that two notebooks need belongs into the package."""
    names = Counter(
        node.name
        for name in BOOKS
        for cell in cells(name, "code")
        for node in ast.walk(ast.parse(python(cell)))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


# --- committed as it ran ---------------------------------------------------------------------


@each_book
def test_ran_in_order_from_a_fresh_kernel(name):
    code = cells(name, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


@each_book
def test_most_of_what_it_prints_is_compared(name):
    """A picture's stand-in, <Figure ...>, is compared but says nothing."""
    printing = [cell for cell in cells(name, "code") if cell.outputs]
    compared = [
        cell
        for cell in printing
        if not cell.source.startswith(IGNORED)
        and any(not text.startswith("<Figure") for text in texts(cell))
    ]
    assert len(compared) >= len(printing) / 2


@each_book
def test_carries_no_trace_of_when_and_where_it_ran(name):
    book = BOOKS[name]
    assert set(book.metadata) == {"kernelspec", "language_info"}
    assert book.metadata["language_info"] == {"name": "python"}
    assert all(set(cell.metadata) <= {"tags"} for cell in book.cells)
    assert len({cell.id for cell in book.cells}) == len(book.cells)


# --- nbval -----------------------------------------------------------------------------------


def test_a_notebook_that_dies_or_hangs_fails_soon(tmp_path):
    """One kernel is killed, one never answers; what follows does not wait, the next one runs."""
    for name in ("notebooks/sanitize.cfg", "tests/offline/sitecustomize.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    settings = (ROOT / "conftest.py").read_text("utf-8")
    assert "CELL_TIMEOUT = 240.0" in settings
    (tmp_path / "conftest.py").write_text(settings.replace("240.0", "4.0"), "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name, source in {
        "1_dies": "import os\nos._exit(1)",
        "2_hangs": "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nsignal.pause()",
        "3_lives": "assert 1 + 1 == 2",
    }.items():
        code = [nbformat.v4.new_code_cell(text) for text in (source, "assert True")]
        book = nbformat.v4.new_notebook(cells=code)
        nbformat.write(book, tmp_path / f"{name}.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "-rA"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    results = re.findall(r"^([A-Z]+) (\d)_\w+.ipynb::Cell (\d)", done.stdout, re.M)
    found = {(book, cell): result for result, book, cell in results}
    assert found == {
        ("1", "0"): "FAILED",
        ("1", "1"): "FAILED",
        ("2", "0"): "FAILED",
        ("2", "1"): "XFAIL",
        ("3", "0"): "PASSED",
        ("3", "1"): "PASSED",
    }, done.stdout + done.stderr
    assert "kernel died" in done.stdout
