"""The file itself: its syntax, its size, who can write it, and where everything in it stands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from monitor.config import load
from monitor.config_file import check_safety, parse, path_text, read
from monitor.config_lines import scan
from monitor.errors import ConfigError

ROOT = Path(__file__).parents[2]


KEEP = "; keep one of the two"
QUOTES = '; text needs quotes, such as poll = "5m"'
OUT_OF_RANGE = "a number in this file is out of range; write plain amounts such as 12.50"


def refused(path: Path) -> tuple[int | None, str, str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.file == str(path)
    return (problem.line, problem.path, problem.message)


def written(directory: Path, data: str | bytes, mode: int = 0o600) -> Path:
    path = directory / "config.toml"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "line", "path", "sentence"),
    [
        (
            "[monitor]\npoll = 5m\n",
            2,
            "",
            "not valid TOML: expected newline or end of document after a statement" + QUOTES,
        ),
        ('[monitor]\npoll = "5m\n', 2, "", "not valid TOML: illegal character '\\n'"),
        ("[monitor]\n\npoll =\n", 3, "", "not valid TOML: invalid value" + QUOTES),
        ("[monitor\n", 1, "", "not valid TOML: expected ']' at the end of a table declaration"),
        ("a = [1,\n2", 1, "", "the list that begins here is not closed; add the ] where it ends"),
        ('[monitor]\npoll = "5m"\npoll = "6m"\n', 3, "monitor.poll", f"is already set on line 2{KEEP}"),
        (
            "[[budgets]]\n[[budgets]]\nname = [\n1]\n'name' = [\n2]\n",
            5,
            "budgets[1].name",
            f"is already set on line 3{KEEP}",
        ),
        ("[monitor]\n[[sources]]\n[monitor] # again\n", 3, "[monitor]", f"is already set on line 1{KEEP}"),
        ("scope = { source = 1,\tsource = 2 }\n", 1, "scope.source", f"is already set on line 1{KEEP}"),
        ("a = 1e99999999999999999999\n", None, "", OUT_OF_RANGE),
        (f"a = {'9' * 5000}\n", None, "", OUT_OF_RANGE),
    ],
)
def test_syntax(tmp_path, text, line, path, sentence):
    assert refused(written(tmp_path, text)) == (line, path, sentence)


def test_not_utf8(tmp_path):
    line, _, message = refused(written(tmp_path, b"[monitor]\n# caf\xe9\n"))
    assert (line, message) == (2, "is not UTF-8 text here; save the file as UTF-8")


def test_nul(tmp_path):
    line, _, message = refused(written(tmp_path, "[monitor]\n# \0\n"))
    assert (line, message) == (2, "holds a NUL character here; save the file as plain UTF-8 text")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    path = written(tmp_path, b"\xef\xbb\xbf[monitor]\r\npoll = 5\r\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert [problem.line for problem in caught.value.problems] == [None, 2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_config_that_another_group_can_change(tmp_path):
    path = written(tmp_path, "", 0o620)
    os.chown(path, -1, 12345)
    assert refused(path) == (None, "", f"can be changed by its group (mode 0620); run: chmod go-w {path}")


def test_the_own_group_may_change_it_as_umask_002_leaves_it(tmp_path):
    path = written(tmp_path, "[monitor]\n", 0o664)
    check_safety(read(path))


@pytest.mark.parametrize(("mode", "whom"), [(0o602, "every user"), (0o666, "every user")])
def test_a_config_that_others_can_change(tmp_path, mode, whom):
    path = written(tmp_path, "", mode)
    assert refused(path) == (None, "", f"can be changed by {whom} (mode {mode:04o}); run: chmod go-w {path}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_config_of_another_user(tmp_path):
    path = written(tmp_path, "")
    os.chown(path, 12345, -1)
    assert refused(path) == (
        None,
        "",
        f"belongs to user 12345, but must belong to root, who runs this; run: chown root {path}",
    )


def test_no_such_file(tmp_path):
    assert refused(tmp_path / "config.toml")[2] == "there is no such file; check --config and $MONITOR_CONFIG"


def test_a_directory(tmp_path):
    assert refused(tmp_path)[2] == "is not a regular file; give the path of a config.toml"


def test_a_named_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "config.toml", 0o600)
    assert refused(tmp_path / "config.toml")[2] == "is not a regular file; give the path of a config.toml"


def test_a_name_that_is_no_path():
    assert refused(Path("a\0b"))[2] == "cannot be read (its name is not a path); check --config and $MONITOR_CONFIG"


HOSTILE = {
    "10 MB": b"# " + b"x" * 10_000_000,
    "5,000 arrays": b"a = " + b"[" * 5000 + b"]" * 5000,
    "5,000 open arrays": b"a = " + b"[" * 5000,
    "5,000 inline tables": b"a = " + b"{a = " * 5000 + b"1" + b"}" * 5000,
    "300 arrays": b"a = " + b"[" * 300 + b"]" * 300,
    "a key of 500,000 parts": b"a." * 500_000 + b"a = 1",
    "a table of 250,000 parts": b"[" + b"a." * 250_000 + b"a]\n" + b"b.c = 1\n" * 60_000,
    "a long key in an inline table": b"x = {" + b"a." * 400_000 + b"a = 1}",
    "a quoted key of many parts": b'"a" . ' * 150_000 + b"a = 1",
    "one long line": b"a" * 1_000_000,
    "one long quote": b'"' * 1_000_000,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_ends_within_a_second_with_one_sentence(tmp_path, data):
    path = written(tmp_path, data)
    began = time.process_time()
    _, _, message = refused(path)
    assert time.process_time() - began < 1
    assert message.count("\n") == 0
    assert len(message) < 200


def test_a_large_file_is_refused_in_little_memory(tmp_path):
    path = written(tmp_path, HOSTILE["10 MB"])
    code = (
        "import sys, resource\nfrom pathlib import Path\nfrom monitor.config import load\n"
        "from monitor.errors import ConfigError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    load(Path(sys.argv[1]))\nexcept ConfigError as error:\n    print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    sentence, more_mib = result.stdout.splitlines()
    assert sentence == f"{path}: is larger than 1 MiB, which no config is; check that this is the right file"
    assert int(more_mib) < 10


def test_every_kind_of_toml_has_its_line():
    text = '''\
# a comment with = and [brackets]
a = 1
[monitor] # [not.this]
text = """
[fake]
key = 1 ""\\""""""
literal = \'\'\'
x = 1\'\'\'
[[b]]
'name' = 'x # "'
list = [ # a comment ]
  { on = "a", at = "80%" },
  # comment
  { on = "b",  at = "}" }, [
    1, 2026-01-01 10:00:00,
  ],
]
"quoted key"."z\\u0041".y = 2026-01-01 10:00:00
[b.scope]
x.y = { a.b = [1,
2] }
[[b.c]]
[[b]]
n = 1
[[b.c]]
v = 1
[[b.c]]
v = 3.5 # end'''
    lines = scan(text)
    expected = {
        ("a",): 2,
        ("monitor",): 3,
        ("monitor", "text"): 4,
        ("monitor", "literal"): 7,
        ("b",): 9,
        ("b", 0): 9,
        ("b", 0, "name"): 10,
        ("b", 0, "list"): 11,
        ("b", 0, "list", 0, "at"): 12,
        ("b", 0, "list", 1, "on"): 14,
        ("b", 0, "list", 2, 1): 15,
        ("b", 0, "quoted key", "zA", "y"): 18,
        ("b", 0, "scope"): 19,
        ("b", 0, "scope", "x", "y", "a", "b", 1): 21,
        ("b", 0, "c", 0): 22,
        ("b", 1): 23,
        ("b", 1, "c", 0, "v"): 26,
        ("b", 1, "c", 1, "v"): 28,
    }
    assert {loc: lines.lines.get(loc) for loc in expected} == expected
    assert set(lines.lines) >= set(_paths(tomllib.loads(text)))
    assert lines.line_of(("b", 1, "c", 1, "absent", 3)) == 27
    assert lines.line_of(("absent",)) is None
    assert lines.twice is None


def _paths(value: object, loc: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [loc] if loc else []
    for key, inner in items:
        found += _paths(inner, (*loc, key))
    return found


def test_numbers_stay_exact(tmp_path):
    assert str(parse(read(written(tmp_path, "a = 0.10")))["a"]) == "0.10"


def test_a_path_is_written_as_people_write_it():
    assert path_text(("budgets", 0, "thresholds", 1, "at")) == "budgets[0].thresholds[1].at"
    assert path_text(("a b", "c")) == '"a b".c'
    assert path_text(()) == ""
