"""The house rules that a machine can check: floors, light imports, sizes, words, the map."""

import ast
import builtins
import graphlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flowers

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(flowers.__file__).parent

# From the ground up. A room is a folder or a module beside `__init__`; rooms on one floor do not
# know each other.
FLOORS = (
    ("errors", "progress", "profile", "quiet"),
    ("config", "files"),
    ("download", "config_file", "hdf5"),
    ("data", "model"),
    ("train",),
    ("judge",),
    ("ship",),
    ("results", "web", "scoring"),
    ("verdict",),
    ("pipeline",),
    ("evaluation", "auditing", "answers", "lesson", "tuning"),
    ("cli",),
    ("__main__",),
)
HEAVY = {"tensorflow", "keras", "pandas", "sklearn", "matplotlib", "scipy", "requests", "kagglehub"}
LIGHT_MODULES = (
    *("config", "errors", "files", "progress", "data.photos", "ship.predictor"),
    *("cli", "cli.options", "cli.photos", "cli.training", "cli.judging", "cli.shipping"),
    *("cli.serving", "web.app", "web.server", "web.wsgi", "web.examples", "web.similar_photos"),
    *("judge.similar", "ship.neighbours"),
    *("scoring.job", "scoring.local"),
)


# --- reading the package ---------------------------------------------------------------------


def module_names(package: Path) -> dict[str, Path]:
    """Dotted name -> file, for the package and everything below it."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path, at_its_top: bool = False) -> Iterator[str]:
    """Every dotted name that the module imports: anywhere in it, or when it is itself imported."""
    base = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_its_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = base.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(filter(None, [start, node.module]))
            # `from flowers.data import photos` may name a module or something in one.
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant))


def inner_imports(package: Path) -> dict[str, set[str]]:
    """Module -> the modules of the same package that it imports."""
    modules = module_names(package)
    graph = {}
    for name, path in modules.items():
        targets = set()
        for target in imported(name, path):
            while target and target not in modules:
                target = target.rpartition(".")[0]
            targets.add(target)
        graph[name] = targets - {"", name}
    return graph


def room(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def upward_imports(package: Path) -> list[str]:
    """Every import that does not go down to a lower floor, or stay within its folder."""
    floor = {name: number for number, rooms in enumerate(FLOORS) for name in rooms}
    wrong = []
    for module, targets in inner_imports(package).items():
        for target in sorted(targets):
            here, there = room(module), room(target)
            if there == "__init__":
                continue  # the version stands there; it imports nothing, as another test proves
            if here != there and not floor.get(there, 99) < floor.get(here, -1):
                wrong.append(f"{module} imports {target}")
    return wrong


MODULES = module_names(PACKAGE)
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def tracked() -> list[Path]:
    """Every file that git keeps, as it is in the working tree."""
    listing = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, encoding="utf-8"
    )
    if listing.returncode:
        pytest.skip("this is not a git checkout")
    paths = (ROOT / name for name in listing.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


# --- floors ----------------------------------------------------------------------------------


def test_every_room_stands_on_a_floor():
    rooms = {room(name) for name in MODULES} - {"__init__"}
    assert rooms <= {name for rooms in FLOORS for name in rooms}


def test_imports_go_downwards_only():
    wrong = upward_imports(PACKAGE)
    assert not wrong, "\n".join(wrong)


def test_no_folder_imports_in_a_circle():
    # raises CycleError, which names the circle
    order = list(graphlib.TopologicalSorter(inner_imports(PACKAGE)).static_order())
    assert set(order) >= set(MODULES)


def test_the_package_itself_imports_nothing():
    assert list(imported("flowers", MODULES["flowers"])) == []


@pytest.mark.parametrize(
    ("importer", "statement"),
    [
        ("data/photos.py", "from flowers.train import training"),
        ("data/photos.py", "def f():\n    import flowers.model.resnet"),
        ("data/photos.py", "def f():\n    from ..train.training import fit"),
        ("web/app.py", "from flowers import pipeline"),
        ("ship/export.py", "import importlib\nimportlib.import_module('flowers.cli')"),
        ("errors.py", "from flowers import files"),
    ],
)
def test_an_upward_import_is_found_wherever_it_hides(tmp_path, importer, statement):
    package = tmp_path / "flowers"
    for name in (
        *("errors.py", "files.py", "data/photos.py", "model/resnet.py", "train/training.py"),
        *("ship/export.py", "pipeline.py", "web/app.py", "cli.py"),
    ):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    assert upward_imports(package) == []
    (package / importer).write_text(statement)
    assert len(upward_imports(package)) == 1


# --- light imports ---------------------------------------------------------------------------


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_importing_it_loads_nothing_heavy(module):
    if f"flowers.{module}" not in MODULES:
        pytest.skip(f"flowers.{module} is not there yet")
    code = f"import sys, flowers.{module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_serving_needs_no_tensorflow():
    wrong = [
        f"{name} imports {target}"
        for name, path in MODULES.items()
        if room(name) in {"data", "web", "scoring"}
        for target in imported(name, path)
        if target.split(".")[0] in {"tensorflow", "keras"}
    ]
    assert not wrong, "\n".join(wrong)


def test_training_stands_on_keras_whatever_computes_beneath():
    """A backend is imported where it is asked something, never to import the module."""
    wrong = [
        f"{name} imports {target}"
        for name, path in MODULES.items()
        if room(name) in {"model", "train", "judge"}
        for target in imported(name, path, at_its_top=True)
        if target.split(".")[0] in {"tensorflow", "jax", "torch"}
    ]
    assert not wrong, "\n".join(wrong)


# --- sizes, docstrings, errors ---------------------------------------------------------------


def test_modules_and_functions_stay_short_enough_to_read():
    long = [
        f"{name}: {count} lines"
        for name, path in MODULES.items()
        if (count := len(path.read_text(encoding="utf-8").splitlines())) >= 350
    ]
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = node.end_lineno - node.lineno + 1
                if count >= 60:
                    long.append(f"{name}.{node.name}: {count} lines")
    assert not long, "\n".join(long)


def test_everything_public_says_what_it_is():
    silent = []
    for name, tree in TREES.items():
        public = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
        ]
        for node in (tree, *public):
            if not ast.get_docstring(node):
                silent.append(f"{name}.{getattr(node, 'name', '')}")
    assert not silent, "\n".join(silent)


def test_no_error_is_raised_that_tells_nobody_what_to_do():
    """The user meets the FlowersError family; a wrong call within the code is a ValueError."""
    built_in = {name for name, value in vars(builtins).items() if is_exception(value)}
    unhelpful = built_in - {"ValueError", "TypeError", "KeyboardInterrupt"}
    wrong = []
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and node.exc:
                raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                if ast.unparse(raised) in unhelpful:
                    wrong.append(f"{name}:{node.lineno} raises {ast.unparse(raised)}")
            elif isinstance(node, ast.ExceptHandler) and node.type is None:
                wrong.append(f"{name}:{node.lineno} catches everything, Ctrl-C too")
    assert not wrong, "\n".join(wrong)


def is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseException)


# --- words and files -------------------------------------------------------------------------


def test_no_file_names_one_machine_or_unfinished_work():
    # the words are put together here, so that this file does not find itself
    of_one_machine = "|".join(["work", "root", r"home/\w+", r"Users/\w+"])
    unwanted = {
        "a path of one machine": re.compile(rf"(?<![\w.~}}>])/(?:{of_one_machine})/"),
        "unfinished work": re.compile(r"\b(?:" + "|".join(["TO" + "DO", "FIX" + "ME"]) + r")\b"),
    }
    found = []
    for path in tracked():
        if path.suffix in {".lock", ".png", ".jpg", ".webp", ".ico", ".tflite", ".onnx", ".keras"}:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for what, pattern in unwanted.items():
            found += [
                f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, hit.start()) + 1} {what}"
                for hit in pattern.finditer(text)
            ]
    assert not found, "\n".join(found)


def test_git_keeps_nothing_over_a_megabyte():
    large = {path.name: path.stat().st_size for path in tracked() if path.stat().st_size > 1e6}
    assert large == {}


def test_ruff_finds_nothing():
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed")
    for command in (["check", "--no-cache"], ["format", "--no-cache", "--check"]):
        done = subprocess.run([ruff, *command, ROOT], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_map_in_the_readme_is_the_house():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Map\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None:
        pytest.skip("the README has no map yet")
    drawn = set(re.findall(r"\b\w+\.py\b", section[1])) - {"__init__.py"}
    built = {path.name for path in MODULES.values()} - {"__init__.py"}
    assert drawn == built
    folders = {room(name) for name, path in MODULES.items() if path.parent != PACKAGE}
    assert folders <= set(re.findall(r"\b(\w+)/", section[1]))
