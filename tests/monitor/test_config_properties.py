"""Whatever is done to a config, there is a `Config` or a `ConfigError`; and whatever is in it has its line."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from monitor.config import Config, load
from monitor.config_lines import Loc, scan
from monitor.errors import ConfigError

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "config.toml").read_text(encoding="utf-8")
LINES = SHIPPED.splitlines()
# A file per example in one directory is fine; nothing of the directory is looked at.
RELAXED = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

PIECES = (
    '" \' """ [ ] [[ ]] { } = , . # - \\ 1e9 nan inf true 2026-01-01 \0 each =[] ={} ="" =-1 =[[]] =[{}] é 𝔘 never '
    "[[budgets]]\n [budgets.scope]\n [[budgets.thresholds]]\n [monitor]\n \r\n \u2028 99999999999999999999"
)
SNIPPETS = st.sampled_from(PIECES.split(" "))
# Delete a stretch and put something else there: anywhere.
EDITS = st.lists(
    st.tuples(st.integers(0, len(SHIPPED)), st.integers(0, 30), SNIPPETS | st.text(max_size=8)), min_size=1, max_size=4
)
KEYS = st.text(st.characters(codec="utf-8"), max_size=6)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=12)
)
VALUES = st.recursive(
    SCALARS.filter(lambda value: value is not None),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def outcome(directory: Path, text: str) -> Config | ConfigError:
    path = directory / "config.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    path.chmod(0o600)
    try:
        return load(path)
    except ConfigError as error:
        refusal = error
    assert refusal.problems
    for problem in refusal.problems:
        assert "\n" not in problem.message
        assert problem.line is None or 1 <= problem.line <= text.count("\n") + 1
    return refusal


@given(EDITS)
@RELAXED
def test_any_edit_of_the_shipped_config(tmp_path, edits):
    text = SHIPPED
    for at, length, new in edits:
        text = text[:at] + new + text[at + length :]
    outcome(tmp_path, text)


@given(st.lists(st.sampled_from(LINES), max_size=40))
@RELAXED
def test_any_shuffle_of_its_lines(tmp_path, lines):
    outcome(tmp_path, "\n".join(lines))


@given(st.integers(0, len(LINES) - 1), VALUES)
@example([line.partition(" ")[0] for line in LINES].index("timezone"), "\n")
@RELAXED
def test_any_value_in_the_place_of_another(tmp_path, number, value):
    key, equals, _ = LINES[number].partition(" = ")
    if not equals or key.startswith("#") or "[" in key:
        return
    lines = [*LINES[:number], f"{key} = {_toml(value)}", *LINES[number + 1 :]]
    # A list that was taken apart leaves its closing lines behind: the file is then no TOML, which is an outcome too.
    outcome(tmp_path, "\n".join(lines))


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.booleans())
@RELAXED
def test_everything_has_a_line_and_its_key_stands_there(document, indented):
    blank = "\n" if indented else ""
    text = f"# first\n{blank}" + "".join(f"{_quoted(key)} = {_toml(value)}\n" for key, value in document.items())
    lines = scan(text)
    paths = _paths(tomllib.loads(text))
    assert set(lines.lines) == set(paths)
    for loc in paths:
        if isinstance(loc[-1], str):
            assert _quoted(loc[-1]) in text.split("\n")[lines.lines[loc] - 1]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_quoted(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        end = "\n" if not any(isinstance(inner, dict | list) for inner in value) else ""
        return f"[{end}" + "".join(f"{_toml(inner)}, {'# ]' if end else ''}{end}" for inner in value) + "]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    plain = (char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08x}" for char in text)
    return f'"{"".join(plain)}"'


def _paths(value: object, loc: Loc = ()) -> list[Loc]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: list[Loc] = [loc] if loc else []
    for key, inner in items:
        found += _paths(inner, (*loc, key))
    return found
