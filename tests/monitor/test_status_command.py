"""`monitor status` as a process: the exit code whatever happens, where the facts come from, what is imported."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor import status_command
from monitor.clock import to_text
from monitor.status import place, stored
from monitor.store import ofd, process
from monitor.store.checksum import checksum
from monitor.store.schema import MIGRATIONS

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
AS_OF = "--as-of=2026-11-23T18:00:00Z"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = "import sys; from monitor.status_command import run; run(sys.argv[1:])"
NOBODY = 65534
# Without what would change the answer; unbuffered output would hide what happens when a buffer is flushed at the end.
CHANGES = ("STATE_DIRECTORY", "MONITOR_CONFIG", "NO_COLOR", "PYTHONUNBUFFERED")
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in CHANGES} | {"PYTHONPATH": str(ROOT)}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


def ago(**age: int) -> str:
    return to_text(NOW - timedelta(**age))


def facts(*, firing: str | None = None, **parts: Any) -> dict[str, Any]:
    alarms = [
        {"on": "actual", "at": "80%", "severity": "warning", "state": "OK", "data": "OK", "since": None},
        {"on": "actual", "at": "100%", "severity": "critical", "state": "OK", "data": "OK", "since": None},
    ]
    for alarm in alarms:
        if alarm["severity"] == firing:
            alarm.update(state="FIRING", since=ago(hours=1))
    return {
        "schema": 1,
        "version": "0.1.0",
        "written_at": ago(minutes=1),
        "turn_at": ago(minutes=1),
        "poll_s": 300,
        "timezone": "UTC",
        "sources": [
            {
                "name": "aws",
                "type": "aws_cloudwatch",
                "every_s": 3600,
                "access": True,
                "missing": [],
                "first_attempt": ago(days=9),
                "last_attempt": ago(minutes=1),
                "last_poll": ago(minutes=1),
                "data_as_of": ago(hours=3),
                "error": None,
                "calls": 3,
                "cost_usd": "0.03",
                "late_poll_s": 10800,
                "stale_poll_s": 93600,
                "late_data_s": 129600,
                "stale_data_s": 172800,
            }
        ],
        "budgets": [
            {
                "name": "training",
                "currency": "USD",
                "amount": "1000",
                "spend": "853.75",
                "billed": "853.75",
                "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
                "accrued": "0",
                "data_as_of": ago(hours=3),
                "lower_bound": False,
                "sources": ["aws"],
                "alarms": alarms,
            }
        ],
        "health": [],
        "receivers": [
            {"name": "oncall", "state": "OK", "since": None, "error": None, "last_delivery": None}
            | {"undelivered": 0, "oldest_due": None}
        ],
        "native": [],
        **parts,
    }


def micros(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(microseconds=1)


def write_store(directory: Path, document: dict[str, Any] | None) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / "ledger.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    for migration in MIGRATIONS:
        for statement in migration:
            connection.execute(statement)
    if document is not None:
        text = json.dumps(document)
        connection.execute("INSERT INTO facts VALUES (1, ?, ?)", (text, checksum("facts", 1, text)))
    connection.commit()
    connection.close()
    return path


def execute(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def owe(path: Path, receiver: str, state: str, created_at: datetime) -> None:
    columns = "id, receiver, kind, state, created_at, next_attempt_at, attempts, possible_repeat, instead_of, remote_id"
    execute(
        path,
        f"INSERT INTO outbox ({columns}, refused, payload, checksum) VALUES (?, ?, 'FIRING', ?, ?, 0, 0, 0, '', '', '', '{{}}', 0)",  # noqa: E501, S608 one statement of constants
        f"{receiver}/{state}",
        receiver,
        state,
        micros(created_at),
    )


def set_receiver(path: Path, name: str, state: str) -> None:
    row = (name, state, micros(NOW), "it answered 410", micros(NOW - timedelta(hours=2)))
    execute(path, "INSERT INTO receiver VALUES (?, ?, ?, ?, ?, ?)", *row, checksum("receiver", *row))


def run(
    *arguments: str | Path, code: str = START, cwd: Path = ROOT, **options: Any
) -> subprocess.CompletedProcess[str]:
    environment = {**ENVIRONMENT, **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", code, "status", *map(str, arguments)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
        check=False,
        cwd=cwd,
        env=environment,
        timeout=30,
    )


def told(*arguments: str | Path, **options: Any) -> dict[str, Any]:
    """The JSON of a run as of NOW, which must agree with the exit code and leave stderr empty."""
    done = run(AS_OF, "--json", *arguments, **options)
    assert done.stderr == ""
    status: dict[str, Any] = json.loads(done.stdout)
    assert status["exit_code"] == done.returncode
    return status


@pytest.fixture
def state(tmp_path: Path) -> Path:
    write_store(tmp_path / "state", facts())
    return tmp_path / "state"


# the ordinary case


@pytest.mark.parametrize(("firing", "code"), [(None, 0), ("warning", 1), ("critical", 2)])
def test_codes_of_a_real_process(tmp_path: Path, firing: str | None, code: int) -> None:
    write_store(tmp_path, facts(firing=firing))
    for form in ([], ["--json"], ["--nagios"], ["--budget", "training"]):
        done = run("--state-dir", tmp_path, AS_OF, *form)
        assert (done.returncode, done.stderr) == (code, "")
        assert done.stdout.count("\n") == 1 or not {"--json", "--nagios"} & set(form)


def test_ages_are_judged_now_without_as_of(state: Path) -> None:
    execute(state / "ledger.db", "DELETE FROM facts")
    text = json.dumps(facts(turn_at="2000-01-01T00:00:00Z"))
    execute(state / "ledger.db", "INSERT INTO facts VALUES (1, ?, ?)", text, checksum("facts", 1, text))
    assert run("--state-dir", state).returncode == 2


def test_it_takes_less_than_a_second(state: Path) -> None:
    def once() -> float:
        began = time.monotonic()
        assert run("--state-dir", state, AS_OF).returncode == 0
        return time.monotonic() - began

    assert min(once() for _ in range(3)) < 1


@pytest.mark.parametrize("form", [(), ("--json",), ("--nagios",)])
def test_nothing_but_the_standard_library_is_imported(state: Path, form: tuple[str, ...]) -> None:
    config = state.parent / "config.toml"
    config.write_text('[monitor]\nstate_dir = "state" # here\n')
    code = (
        "import sys; from monitor.status_command import main; before = set(sys.modules); main(sys.argv[1:]);"
        "print(*(set(sys.modules) - before | {'monitor.status_command'}), file=sys.stderr)"
    )
    done = run(AS_OF, "--config", config, *form, code=code)
    imported = {name.partition(".")[0] for name in done.stderr.split()}
    assert (
        imported - {"monitor", "alarms"} - sys.stdlib_module_names - {"_sysconfigdata__linux_x86_64-linux-gnu"} == set()
    )
    assert not imported & {"boto3", "pydantic", "apscheduler", "slack_sdk"}
    # What would cost more than everything else together.
    assert not imported & {
        "tomllib",
        "argparse",
        "dataclasses",
        "typing",
        "pathlib",
        "logging",
        "socket",
        "ssl",
        "urllib",
    }
    assert not {"monitor.errors", "monitor.model", "monitor.config", "monitor.app"} & set(done.stderr.split())


# what the store says beside the facts


@pytest.mark.parametrize("owed", ["DUE", "SENDING"])
def test_messages_owed_for_too_long(state: Path, owed: str) -> None:
    owe(state / "ledger.db", "oncall", "SENT", NOW - timedelta(days=1))
    owe(state / "ledger.db", "oncall", "DEAD", NOW - timedelta(days=1))
    owe(state / "ledger.db", "oncall", owed, NOW - timedelta(minutes=15))
    assert told("--state-dir", state)["state"] == "OK"
    owe(state / "ledger.db", "removed", owed, NOW - timedelta(minutes=16))
    status = told("--state-dir", state)
    assert status["state"] == "CRITICAL"
    assert [(row["name"], row["undelivered"]) for row in status["receivers"]] == [("oncall", 1), ("removed", 1)]
    assert status["receivers"][1]["oldest_due"] == ago(minutes=16)


def test_a_dead_receiver(state: Path) -> None:
    set_receiver(state / "ledger.db", "oncall", "DEAD")
    set_receiver(state / "ledger.db", "not-configured-any-more", "DEAD")
    status = told("--state-dir", state)
    assert (status["state"], len(status["receivers"])) == ("CRITICAL", 1)
    assert status["summary"] == "receiver oncall is DEAD: it answered 410"
    assert status["receivers"][0]["last_delivery"] == ago(hours=2)


def test_no_turn_yet(tmp_path: Path) -> None:
    write_store(tmp_path / "fresh", None)
    assert told("--state-dir", tmp_path / "fresh")["summary"] == "no turn yet"
    absent = told("--state-dir", tmp_path / "absent")
    assert (absent["exit_code"], absent["daemon"]) == (3, {"running": False, "last_turn": None})
    assert absent["summary"] == f"no turn yet: nothing is stored in {tmp_path / 'absent'}"


def test_whether_a_daemon_runs_is_seen_without_touching_its_lock(state: Path) -> None:
    assert told("--state-dir", state)["daemon"]["running"] is False
    with (state / "lock").open("w") as lock:
        assert told("--state-dir", state)["daemon"]["running"] is False
        ofd.hold(lock.fileno())
        assert told("--state-dir", state)["daemon"]["running"] is True
    assert told("--state-dir", state)["daemon"]["running"] is False


# arguments


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--jsn"], "UNKNOWN - '--jsn' is not known here, did you mean '--json'?; see: monitor status --help"),
        (
            ["--budgets=x"],
            "UNKNOWN - '--budgets' is not known here, did you mean '--budget'?; see: monitor status --help",
        ),
        (["extra"], "UNKNOWN - 'extra' is not known here; see: monitor status --help"),
        (["status"], "UNKNOWN - 'status' is not known here; see: monitor status --help"),
        (["--budget"], "UNKNOWN - --budget needs a value; see: monitor status --help"),
        (["--budget", "--json"], "UNKNOWN - --budget needs a value; see: monitor status --help"),
        (["--config="], "UNKNOWN - --config needs a value; see: monitor status --help"),
        (["--json", "--nagios"], "UNKNOWN - choose one of --json and --nagios"),
        (["--as-of", "noon"], "UNKNOWN - --as-of needs an instant such as 2026-11-23T18:00:00Z"),
        (["--as-of", "0001-01-01T00:00:00+14:00"], "UNKNOWN - --as-of needs an instant such as 2026-11-23T18:00:00Z"),
        (["a\nb\x1b"], "UNKNOWN - 'a b' is not known here; see: monitor status --help"),
    ],
)
def test_bad_arguments_are_one_sentence_on_stdout(arguments: list[str], sentence: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (3, sentence + "\n", "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_has_examples_and_is_unknown_to_a_monitoring_system(option: str) -> None:
    done = run(option, "--json")
    assert done.returncode == 3
    assert "examples:\n  monitor status\n" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_an_unknown_budget_names_the_nearest(state: Path) -> None:
    status = told("--state-dir", state, "--budget", "trainin")
    assert (status["exit_code"], status["summary"]) == (3, "no budget is called 'trainin', did you mean 'training'?")


def test_the_name_of_all_that_each_has_made(tmp_path: Path) -> None:
    made = [{**facts()["budgets"][0], "name": f"per/{account}"} for account in (1, 2)]
    write_store(tmp_path / "state", facts(budgets=made))
    status = told("--state-dir", tmp_path / "state", "--budget", "per")
    assert (status["exit_code"], len(status["budgets"])) == (0, 2)
    assert told("--state-dir", tmp_path / "state", "--budget", "pe")["exit_code"] == 3


def test_options_before_the_command(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_command.main(["--state-dir", str(state), AS_OF, "status", "--nagios"]) == 0
    assert capsys.readouterr().out.startswith("BUDGET OK - 1 budget within limits; training is at 85%")


# where the state is


def write_config(directory: Path, text: str) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / "config.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[monitor]\n",
        '[monitor]\nstate_dir = "state"\n[[sources]]\nname = "aws"\n',
        "[monitor]\npoll = '5m'\nstate_dir='state'#x\n",
        '# state_dir = "elsewhere"\n  [monitor] # here\n  state_dir = "state"\n',
        'monitor = { state_dir = "state" }',
        'monitor.state_dir = "state"',
        '[ monitor ]\n"state_dir" = "state"',
        '[monitor]\nstate_dir = """state"""',
        '[monitor]\n"state\\u005fdir" = "state"',
        '[monitor]\nstate_dir = "st\\u0061te"',
        '[other]\nstate_dir = "elsewhere"',
        'x = """\n[monitor]\nstate_dir = "elsewhere"\n"""',
        '[other]\nstate_dir = "elsewhere"\n[monitor]\nstate_dir = "state"',
    ],
)
def test_the_place_that_every_config_names(tmp_path: Path, text: str) -> None:
    config = write_config(tmp_path, text)
    assert place.find_place(str(config), None).state_dir == str(tmp_path / "state")


@pytest.mark.parametrize(
    "text",
    [
        "this is not = [toml state_dir",
        "[monitor]\nstate_dir = 3",
        '[monitor]\nstate_dir = ""',
        'monitor = "state_dir"',
        "x = " + "[" * 100_000 + " # state_dir",
    ],
)
def test_a_config_that_names_no_place(tmp_path: Path, text: str) -> None:
    config = write_config(tmp_path, text)
    done = run("--config", config, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, "")
    assert "monitor check-config" in " ".join(done.stdout.split())


def test_where_the_config_is_looked_for(tmp_path: Path) -> None:
    for name in ("given", "variable", "here"):
        write_config(tmp_path / name, f'[monitor]\nstate_dir = "of-{name}"\n')
    variable = {"MONITOR_CONFIG": str(tmp_path / "variable" / "config.toml")}
    given = ["--config", tmp_path / "given" / "config.toml"]
    here = tmp_path / "here"
    assert told(*given, cwd=here, env=variable)["summary"].endswith("given/of-given")
    assert told(cwd=here, env=variable)["summary"].endswith("variable/of-variable")
    assert told(cwd=here)["summary"].endswith("here/of-here")
    directory = {"STATE_DIRECTORY": f"{tmp_path}/systemd:/elsewhere"}
    assert told(*given, cwd=here, env=directory)["summary"].endswith("/systemd")
    assert told(*given, "--state-dir", "mine", cwd=here, env=directory)["summary"].endswith("here/mine")


@pytest.mark.parametrize("make", ["absent", "directory", "binary", "fifo"])
def test_a_config_that_is_none(tmp_path: Path, make: str) -> None:
    path = tmp_path / "config.toml"
    if make == "directory":
        path.mkdir()
    elif make == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    elif make == "fifo":
        os.mkfifo(path)
    done = run("--config", path)
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("this is not = [toml", "is not valid TOML, so where the state is cannot be told; see: monitor check-config"),
        ("#" * (1 << 20) + "\n", "is larger than 1 MiB, which no config is; check that this is the right file"),
    ],
)
def test_a_broken_config_is_what_is_wrong_and_not_that_nothing_is_stored(tmp_path: Path, text: str, why: str) -> None:
    config = write_config(tmp_path, text)
    status = told("--config", config)
    assert (status["exit_code"], status["summary"]) == (3, f"{config} {why}")


def test_a_config_that_is_missing_is_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    status = told("--config", path)
    assert status["summary"] == f"no config at {path}; pass --config FILE or --state-dir DIR"
    assert (
        status["problems"][0]["do"] == "write one: `monitor demo --write-config FILE`, or name another: --config FILE"
    )
    path.mkdir()
    assert told("--config", path)["summary"].startswith(f"{path} is not a file, so it is no config")


def test_what_to_do_without_a_config_and_with_one_that_was_never_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (without,) = told(tmp_path / "etc.toml", tmp_path / "run.json", cwd=tmp_path / "empty", code=SYSTEM)["problems"]
    assert without["text"] == "no turn yet: no config and no daemon found here"
    assert without["do"] == "name a config, --config FILE, or write one: `monitor demo --write-config config.toml`"
    config = write_config(tmp_path, "[[budgets]]\nname = 3\n")
    (unused,) = told("--config", config)["problems"]
    assert unused["do"].startswith("run `monitor check-config`, then `monitor once` for one turn")


# a store that cannot be read


def test_status_json_is_used_while_another_holds_the_store(state: Path) -> None:
    (state / "status.json").write_text(json.dumps(facts(firing="warning")))
    execute(state / "ledger.db", "PRAGMA journal_mode = DELETE")
    connection = sqlite3.connect(state / "ledger.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        began = time.monotonic()
        assert told("--state-dir", state)["exit_code"] == 1
        (state / "status.json").unlink()
        assert "is locked" in told("--state-dir", state)["summary"]
        assert time.monotonic() - began < 10
    finally:
        connection.close()


def test_a_daemon_that_is_writing_holds_nobody_up(state: Path) -> None:
    connection = sqlite3.connect(state / "ledger.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM facts")
    try:
        assert told("--state-dir", state)["state"] == "OK"
    finally:
        connection.close()


@pytest.mark.parametrize(("minutes", "code"), [(0, 2), (1, 0), (30, 0)])
def test_a_status_json_that_is_newer_than_the_store_is_of_a_daemon_whose_disk_refuses(
    state: Path, minutes: int, code: int
) -> None:
    disk = {"subject": "disk: full", "severity": "critical", "state": "FIRING", "since": ago(minutes=1), "detail": ""}
    text = json.dumps(facts(firing="critical", written_at=ago(minutes=minutes), health=[disk]))
    (state / "status.json").write_text(text)
    assert told("--state-dir", state)["exit_code"] == code


@pytest.mark.parametrize(
    "text", ["", "{", '{"schema": 1, "written_at": "9999', '{"written_at": "9999-01-01T00:00:00Z"}']
)
def test_a_status_json_that_is_no_use_changes_nothing(state: Path, text: str) -> None:
    (state / "status.json").write_text(text)
    assert told("--state-dir", state)["exit_code"] == 0


@pytest.mark.parametrize("when", ["2026-11-23T17:59:00Z", "2026-11-23T17:59:00.5Z"])
def test_a_part_of_a_second_counts(state: Path, when: str) -> None:
    execute(state / "ledger.db", "DELETE FROM facts")
    text = json.dumps(facts(written_at="2026-11-23T17:59:00Z"))
    execute(state / "ledger.db", "INSERT INTO facts VALUES (1, ?, ?)", text, checksum("facts", 1, text))
    (state / "status.json").write_text(json.dumps(facts(firing="critical", written_at=when)))
    assert told("--state-dir", state)["exit_code"] == (2 if ".5" in when else 0)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "garbage":
        path.write_bytes(b"garbage" * 1000)
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "zero pages":
        path.write_bytes(content[:100] + bytes(len(content) - 100))
    elif how == "another spend":
        assert content.count(b"853.75") == 2
        path.write_bytes(content.replace(b"853.75", b"153.75"))
    elif how == "not JSON":
        execute(path, "UPDATE facts SET document = '{', checksum = ?", checksum("facts", 1, "{"))
    elif how == "deep JSON":
        deep = "[" * 200_000
        execute(path, "UPDATE facts SET document = ?, checksum = ?", deep, checksum("facts", 1, deep))
    elif how == "newer":
        execute(path, "UPDATE facts SET document = ?, checksum = ?", NEWER, checksum("facts", 1, NEWER))


NEWER = '{"schema": 2}'
DAMAGES = ["empty", "garbage", "truncated", "zero pages", "another spend", "not JSON", "deep JSON", "newer"]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_store_is_never_fine(state: Path, how: str) -> None:
    damage(state / "ledger.db", how)
    status = told("--state-dir", state)
    assert (status["exit_code"], status["budgets"]) == (3, [])
    assert "ledger.db cannot be read: " in status["summary"]
    (state / "status.json").write_text(json.dumps(facts()))
    assert told("--state-dir", state)["exit_code"] == 3
    (state / "status.json").write_text(json.dumps(facts(firing="critical")))
    assert told("--state-dir", state)["exit_code"] == 2


def test_every_flipped_bit_of_the_facts_is_noticed(state: Path) -> None:
    path = state / "ledger.db"
    whole = path.read_bytes()
    text = json.dumps(facts()).encode()
    at = whole.index(text)
    for bit in range(0, len(text) * 8, 97):
        flipped = bytearray(whole)
        flipped[at + bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found = stored.read(place.Place(str(state), system=False))
        assert (found.document, found.trouble is None) == (None, False)


def test_facts_of_an_unknown_shape_are_unknown(tmp_path: Path) -> None:
    write_store(tmp_path, facts(budgets=[{"name": "training"}]))
    done = run("--state-dir", tmp_path, AS_OF)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == "UNKNOWN - monitor status itself failed: KeyError: 'sources'\n"


@pytest.mark.parametrize("kind", ["directory", "fifo", "dangling link"])
def test_a_store_that_is_no_file(tmp_path: Path, kind: str) -> None:
    for name in ("ledger.db", "status.json"):
        if kind == "directory":
            (tmp_path / name).mkdir()
        elif kind == "fifo":
            os.mkfifo(tmp_path / name)
        else:
            (tmp_path / name).symlink_to(tmp_path / "nowhere")
    assert told("--state-dir", tmp_path)["exit_code"] == 3


@pytest.mark.parametrize("name", ["with space", "per%20cent", "what?", "hash#tag", "schön"])
def test_a_state_directory_with_an_odd_name(tmp_path: Path, name: str) -> None:
    write_store(tmp_path / name, facts())
    assert told("--state-dir", tmp_path / name)["state"] == "OK"


# another user


# Everything is imported before the rights are given up: nobody may be unable to reach the interpreter's library.
PRELOAD = (
    "import os, sys; from monitor import status_command;"
    "from monitor.status import judge, nagios, place, render, stored;"
)
AS_NOBODY = f"{PRELOAD} os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); status_command.run(sys.argv[1:])"


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@needs_root
def test_an_unprivileged_user_reads_status_json(public: Path) -> None:
    write_store(public, facts()).chmod(0o600)
    assert "cannot be read" in told("--state-dir", public, code=AS_NOBODY)["summary"]
    (public / "status.json").write_text(json.dumps(facts(firing="critical")))
    assert told("--state-dir", public, code=AS_NOBODY)["exit_code"] == 2


@needs_root
@pytest.mark.parametrize("closed", ["state", "."])
def test_a_directory_that_may_not_be_entered_is_what_is_wrong(public: Path, closed: str) -> None:
    write_store(public / "state", facts())
    (public / "state" / "status.json").write_text(json.dumps(facts()))
    (public / closed).chmod(0o700)
    status = told("--state-dir", public / "state", code=AS_NOBODY)
    assert status["exit_code"] == 3
    assert status["summary"] == f"the state directory {public / 'state'} may not be entered by this user"
    assert status["problems"][0]["do"] == f"chmod o+x {public / closed}, or run it as root"
    (public / closed).chmod(0o711)
    assert told("--state-dir", public / "state", code=AS_NOBODY)["exit_code"] == 0


# What a reader who may not look at the lock believes of the process that status.json names.
WRITERS: dict[str, tuple[Any, bool | None]] = {
    "of a daemon that runs": ({}, True),
    "of a command, or of a daemon that has ended": (None, False),
    "of a process that is gone": ({"pid": 2**22 + 1}, False),
    "of another process of that number": ({"started": 1}, False),
    "of another container": ({"pid_namespace": "pid:[1]"}, None),
    "of something else": ({"pid": "many"}, None),
}


@needs_root
@pytest.mark.parametrize("writer", WRITERS)
def test_who_may_not_see_the_lock_claims_no_more_than_is_known(public: Path, writer: str) -> None:
    changes, running = WRITERS[writer]
    write_store(public, facts()).chmod(0o600)
    (public / "lock").touch(0o600)
    ours = process.this_process()
    assert ours is not None
    written = facts(daemon=None if changes is None else {**ours, **changes})
    (public / "status.json").write_text(json.dumps(written))
    assert told("--state-dir", public, code=AS_NOBODY)["daemon"]["running"] is running
    old = {key: value for key, value in written.items() if key != "daemon"}
    (public / "status.json").write_text(json.dumps(old))
    assert told("--state-dir", public, code=AS_NOBODY)["daemon"]["running"] is None


def test_a_process_that_has_ended_but_is_not_waited_for_runs_no_more() -> None:
    import_it = "import json; from monitor.store.process import this_process; print(json.dumps(this_process()))"
    command = [sys.executable, "-c", import_it]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told_of = json.loads(child.stdout.read())
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert told_of["pid"] == child.pid
        assert process.is_alive(told_of) is False


@needs_root
def test_a_store_that_may_be_read_but_not_written(public: Path) -> None:
    write_store(public, facts())
    assert told("--state-dir", public, code=AS_NOBODY)["state"] == "OK"
    assert [path.name for path in public.iterdir()] == ["ledger.db"]


@needs_root
def test_a_log_that_may_not_be_read_is_not_left_out(public: Path) -> None:
    connection = sqlite3.connect(write_store(public, facts()), isolation_level=None)
    text = json.dumps(facts(firing="critical"))
    connection.execute("UPDATE facts SET document = ?, checksum = ?", (text, checksum("facts", 1, text)))
    for suffix in ("-wal", "-shm"):
        (public / f"ledger.db{suffix}").chmod(0o600)
    try:
        assert told("--state-dir", public, code=AS_NOBODY)["exit_code"] == 3
        assert told("--state-dir", public)["exit_code"] == 2
    finally:
        connection.close()


SYSTEM = f"{PRELOAD}place.SYSTEM_CONFIG, stored.SYSTEM_STATUS = sys.argv[-2:]; status_command.run(sys.argv[1:-2])"


def system(tmp_path: Path, *arguments: str | Path, **options: Any) -> int:
    """The exit code where the files of the system are those of the test, run where there is no config."""
    (tmp_path / "empty").mkdir(exist_ok=True)
    paths = (tmp_path / "etc.toml", tmp_path / "run.json")
    return run(AS_OF, *arguments, *paths, cwd=tmp_path / "empty", **{"code": SYSTEM, **options}).returncode


def test_the_status_of_the_system_when_nothing_else_is_found(tmp_path: Path) -> None:
    assert system(tmp_path) == 3
    (tmp_path / "run.json").write_text(json.dumps(facts(firing="warning")))
    assert system(tmp_path) == 1
    (tmp_path / "etc.toml").write_text('[monitor]\nstate_dir = "nowhere"\n')
    assert system(tmp_path) == 1
    assert system(tmp_path, "--config", tmp_path / "etc.toml") == 1
    write_store(tmp_path / "nowhere", facts(firing="critical"))
    assert system(tmp_path) == 2


def test_the_status_of_the_system_says_nothing_of_other_places(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(facts()))
    (tmp_path / "mine.toml").write_text("")
    assert system(tmp_path, "--state-dir", tmp_path / "absent") == 3
    assert system(tmp_path, "--config", tmp_path / "mine.toml") == 3


@needs_root
def test_a_config_of_the_system_that_this_user_may_not_read(public: Path) -> None:
    (public / "etc.toml").write_text("")
    (public / "etc.toml").chmod(0o600)
    (public / "run.json").write_text(json.dumps(facts()))
    give_up = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); status_command.run("
    as_nobody = SYSTEM.replace("status_command.run(", give_up)
    assert system(public, "--config", public / "etc.toml", code=as_nobody) == 0
    status = told("--config", public / "etc.toml", code=AS_NOBODY)
    assert status["summary"] == f"{public}/etc.toml may not be read by this user; pass --state-dir DIR"


@needs_root
def test_a_config_in_a_directory_that_this_user_may_not_enter_is_not_missing(public: Path) -> None:
    config = write_config(public / "mine", "")
    (public / "mine").chmod(0o700)
    for path in (config, public / "mine" / "absent.toml"):
        status = told("--config", path, code=AS_NOBODY)
        assert status["summary"] == f"{path} may not be read by this user; pass --state-dir DIR"
        assert status["problems"][0]["do"].startswith("let this user read it or run as another")


# an output that takes nothing


MAIN = "import sys; from monitor.status_command import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize("code", [START, MAIN], ids=["run", "main"])
@pytest.mark.parametrize("arguments", [[], ["--json"], ["--nagios"], ["--help"], ["--wrong"]])
def test_a_full_or_closed_output(state: Path, arguments: list[str], code: str) -> None:
    with Path("/dev/full").open("w") as full:
        assert run("--state-dir", state, AS_OF, *arguments, code=code, stdout=full).returncode == 3
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", code, "status", "--state-dir", state, *arguments]
    done = subprocess.run(closed, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (3, b"")


@pytest.mark.parametrize("code", [START, MAIN], ids=["run", "main"])
def test_a_reader_that_went_away(state: Path, code: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run("--state-dir", state, AS_OF, code=code, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (3, "")


def test_an_output_that_cannot_say_every_character(tmp_path: Path) -> None:
    document = facts()
    document["budgets"][0]["name"] = "schön日本"
    write_store(tmp_path, document)
    done = run("--state-dir", tmp_path, AS_OF, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "sch\\xf6n\\u65e5\\u672c is at 85%" in done.stdout


def test_no_colour_without_a_terminal(state: Path) -> None:
    assert "\x1b" not in run("--state-dir", state, AS_OF).stdout


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colour_on_a_terminal(state: Path, environment: dict[str, str], coloured: bool) -> None:
    master, slave = os.openpty()
    try:
        run("--state-dir", state, AS_OF, stdout=slave, env={"TERM": "xterm", **environment})
        assert (b"\x1b[32mOK" in os.read(master, 65536)) is coloured
    finally:
        os.close(master)
        os.close(slave)


# anything else


@pytest.mark.parametrize(
    "error", ["KeyboardInterrupt()", "RecursionError('deep')", "MemoryError()", "SystemExit(0)", "OSError(5, 'io')"]
)
def test_whatever_goes_wrong_is_unknown(state: Path, error: str) -> None:
    code = (
        "import sys; from monitor import status_command\n"
        f"def fail(options): raise {error}\n"
        "status_command._status = fail; sys.exit(status_command.main(sys.argv[1:]))"
    )
    done = run("--state-dir", state, code=code)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.startswith("UNKNOWN - ")
    assert done.stdout.count("\n") == 1


def test_an_interrupt_is_unknown(state: Path) -> None:
    ours, theirs = socket.socketpair()
    code = (
        "import os, sys; from monitor import status_command; from monitor.status import stored\n"
        f"def hang(place): os.write({theirs.fileno()}, b'.'); os.read({theirs.fileno()}, 1)\n"
        "stored.read = hang; status_command.run(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "status", "--state-dir", state]
    with (
        ours,
        theirs,
        subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()]
        ) as process,
    ):
        assert ours.recv(1) == b"."
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == b"UNKNOWN - monitor status itself failed: interrupted\n"
        assert process.returncode == 3
