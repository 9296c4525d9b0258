"""The table of faults: each is shown by tests that exist, and by experiments that exist."""

import ast
import re
from pathlib import Path

from faults.__main__ import experiments
from faults.table import FAULTS

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent


def test_every_fault_has_a_test_that_exists():
    assert [fault.number for fault in FAULTS] == list(range(1, 23))
    missing = []
    for fault in FAULTS:
        assert fault.tests
        for test in fault.tests:
            place, _, beginning = test.partition("::")
            tree = ast.parse((TESTS / place).read_text("utf-8"))
            names = [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
            if not any(name.startswith(beginning) for name in names):
                missing.append(test)
    assert not missing, "\n".join(missing)


def test_every_experiment_belongs_to_a_fault():
    named = {name for fault in FAULTS for name in fault.experiments}
    assert named == set(experiments())


def test_the_page_shows_every_fault_and_claims_what_was_kept():
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    for fault in FAULTS:
        assert re.search(rf"^\| {fault.number} \| ", page, re.MULTILINE)
    for name in experiments():
        assert name in page
