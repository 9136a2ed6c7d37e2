"""The shape of the code: who imports whom, how long a module is, and where clocks, floats and broad excepts may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("monitor", "alarms")
MODULES = {path.relative_to(ROOT).as_posix(): path for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
TREES = {name: ast.parse(path.read_text(encoding="utf-8"), name) for name, path in MODULES.items()}

CLOCKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
# Where no money passes: the simulated clouds speak the wire format of the real ones, which has floats.
NO_MONEY = ("monitor/simulation/",)
# Where everything is caught: the outermost guards, and one that hands it on.
GUARDS = {
    "alarms/clients/deadline.py",  # raised again in the thread of whoever waits
    "monitor/arguments.py",  # of every command
    "monitor/collect.py",  # of a source in a turn
    "monitor/native_watch.py",  # of a look at the clouds' own alarms
    "monitor/status_command.py",  # of `status`, whose exit codes are a promise
}


def test_imports_follow_the_contracts() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_is_longer_than_300_lines() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_only_the_clock_reads_the_clock() -> None:
    assert [call for call in calls_of(CLOCKS) if not call.startswith("monitor/clock.py:")] == []


def test_nothing_sleeps() -> None:
    assert calls_of({"time.sleep", "sleep"}) == []


def test_no_float_on_the_path_of_money() -> None:
    assert [call for call in calls_of({"float", "round"}) if not call.startswith(NO_MONEY)] == []


def test_broad_excepts_are_the_known_guards_and_say_why() -> None:
    broad = [
        (f"{name}:{node.lineno}", MODULES[name].read_text(encoding="utf-8").splitlines()[node.lineno - 1])
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type) and not raises_again(node)
    ]
    assert sorted(place.partition(":")[0] for place, _ in broad) == sorted(GUARDS)
    assert [place for place, line in broad if not re.search(r"# (noqa: BLE001\W+)?\w.{15,}", line)] == []


@pytest.mark.parametrize("snippet", ["import time as t\nt.sleep(1)", "from time import sleep\nsleep(1)"])
def test_a_hidden_sleep_is_found(snippet: str) -> None:
    assert next(names_of_calls(ast.parse(snippet)))[0] in {"time.sleep", "sleep"}


def calls_of(names: set[str]) -> list[str]:
    """`file:line name` of every call of one of these."""
    return [
        f"{module}:{line} {called}"
        for module, tree in TREES.items()
        for called, line in names_of_calls(tree)
        if called in names or ".".join(called.split(".")[-2:]) in names
    ]


def names_of_calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """What is called, by its full name where an import gives it another one: `t.sleep` is `time.sleep`."""
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, _, rest = ast.unparse(node.func).partition(".")
            first = imported.get(first, first)
            yield f"{first}.{rest}" if rest else first, node.lineno


def is_broad(caught: ast.expr | None) -> bool:
    """`except:`, `except Exception`, `except BaseException`, alone or among others."""
    if caught is None:
        return True
    return any(isinstance(node, ast.Name) and node.id in {"Exception", "BaseException"} for node in ast.walk(caught))


def raises_again(handler: ast.ExceptHandler) -> bool:
    """It tidies up and lets the exception go on: `except BaseException: ...; raise`."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None
