"""Every error that a command can end with says what was expected, what came, what to do."""

import ast
import importlib
from pathlib import Path

import pytest

import flowers
from flowers.cli import _explained
from flowers.errors import FlowersError, InputError, PhotoError, WorldError

PACKAGE = Path(flowers.__file__).parent
FAMILY = {"FlowersError", "InputError", "WorldError", "PhotoError"}
# What else may be raised: mistakes of a caller within the code, and control of the flow.
WITHIN = {"ValueError", "TypeError", "KeyboardInterrupt"}
OF_OTHERS = {"UnsupportedMediaType", "RequestEntityTooLarge", "UnpicklingError"}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def raised():
    """(place, the raise, its tree) of every raise of something new."""
    for path in modules():
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and node.exc is not None:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node.exc, tree


def name_of(call: ast.expr) -> str:
    return ast.unparse(call.func if isinstance(call, ast.Call) else call).rpartition(".")[2]


def family(tree: ast.Module) -> set[str]:
    """The family's names, and those of its children in this module."""
    known = set(FAMILY) | {"BusyError", "_SilenceError"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and known & {ast.unparse(base) for base in node.bases}:
            known.add(node.name)
    return known


def returned(tree: ast.Module, name: str) -> set[str]:
    """What a function or method of this module that makes an error gives back."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name and node.returns:
            return {ast.unparse(node.returns)}
    return set()


def test_every_raise_is_of_the_family_or_a_mistake_within_the_code():
    strangers, seen = [], 0
    for place, what, tree in raised():
        seen += 1
        name, known = name_of(what), family(tree)
        inner = {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef)}
        handled = {n.name for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.name}
        fine = name in known | WITHIN | OF_OTHERS | inner | handled
        made = returned(tree, name) <= known and returned(tree, name)
        found = {
            ast.unparse(n.value.func)
            for n in ast.walk(tree)
            if isinstance(n, ast.NamedExpr)
            and n.target.id == name
            and isinstance(n.value, ast.Call)
        }
        made = made or any(
            {part.removesuffix(" | None") for part in returned(tree, one)} & known for one in found
        )
        from_gate = name == "busy"  # web.gate.busy() -> BusyError
        if not (fine or made or from_gate):
            strangers.append(f"{place} raises {name}")
    assert seen > 150 and not strangers, "\n".join(strangers)


def calls_of_the_family():
    """Every place where an error of the family is made: (place, its three parts)."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and name_of(node) in FAMILY:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node.args


def ends(part: ast.expr) -> str | None:
    """The last character of a text that is written down, None where it is made of variables."""
    if isinstance(part, ast.Constant) and isinstance(part.value, str):
        return part.value[-1:]
    if isinstance(part, ast.JoinedStr) and isinstance(part.values[-1], ast.Constant):
        return part.values[-1].value[-1:]
    return None


def test_every_error_has_three_parts_and_its_remedy_is_a_sentence():
    wrong, seen = [], 0
    for place, parts in calls_of_the_family():
        starred = any(isinstance(part, ast.Starred) for part in parts)
        seen += 1
        if starred:
            continue
        if len(parts) != 3:
            wrong.append(f"{place}: {len(parts)} parts")
            continue
        expected, received, remedy = map(ends, parts)
        if expected == "." or received == ".":
            wrong.append(f"{place}: the message would have two full stops")
        if remedy not in (None, ".", "`", ")"):
            wrong.append(f"{place}: the remedy is no sentence")
    assert seen > 150 and not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a", "b", "C."), 2),
        (PhotoError("a", "b", "C."), 2),
        (WorldError("a", "b", "C."), 3),
        (KeyboardInterrupt(), 3),
        (MemoryError(), 3),
        (OSError(28, "No space left on device"), 3),
        (ImportError("No module named 'onnx'"), 2),
    ],
)
def test_every_kind_ends_with_its_code_and_in_words(error, code):
    message, got = _explained(error)
    assert got == code and "Traceback" not in message
    if isinstance(error, FlowersError):
        assert message == "Expected a. Received: b. C."


def test_every_module_of_the_command_can_be_imported():
    paths = sorted((PACKAGE / "cli").glob("*.py"))
    assert paths
    for path in paths:
        assert Path(importlib.import_module(f"flowers.cli.{path.stem}").__file__) == path
