"""docs/faults.md tells of every known fault, and names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs/faults.md").read_text(encoding="utf-8")
REASONS = ("not in this version: ", "does not apply: ")


def rows() -> dict[int, tuple[str, str]]:
    """What happens, and what shows it, by number."""
    found = {}
    for number, _, happens, shown in re.findall(r"^\| (\d+) \|(.*?)\| (.*?)\| (.*) \|$", PAGE, re.MULTILINE):
        assert int(number) not in found, f"{number} is told twice"
        found[int(number)] = (happens.strip(), shown)
    return found


def test_every_fault_is_told() -> None:
    assert sorted(rows()) == list(range(1, 83))


def test_every_row_names_its_test_or_says_why_there_is_none() -> None:
    for number, (happens, shown) in rows().items():
        named = "::test_" in shown
        assert named or any(reason in shown for reason in REASONS), f"{number}: {shown}"
        assert happens or not named, f"{number} has a test, but does not say what happens"


def test_every_test_that_is_named_exists() -> None:
    for path, name in set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)):
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{path}::{name}"


def test_the_changelog_counts_as_the_page_does() -> None:
    """A fault that is not in this version is none that has a test."""
    told = " ".join((TESTS.parent / "CHANGELOG.md").read_text(encoding="utf-8").split())
    shown = [row for _, row in rows().values()]
    with_tests, later, never = (sum(mark in row for row in shown) for mark in ("::test_", *REASONS))
    names = {8: "eight", 1: "one"}
    assert (
        f"{len(shown)} faults: [docs/faults.md](docs/faults.md). {with_tests} with their tests; {names[later]} are"
        in told
    )
    assert f"{names[never]} does not apply" in told
