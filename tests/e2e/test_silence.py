"""`monitor silence`, `ack`, `unsilence` as people use them: with the daemon, without one, across restarts and kills."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor import control
from tests.e2e.conftest import Stage
from tests.e2e.test_daemon import until

Daemons = list[subprocess.Popen[str]]


def spend(stage: Stage, value: str, *, minutes: int) -> None:
    """Publish a month to date; `minutes` order the values of one test."""
    now = datetime.now(UTC)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    stage.aws.publish_charge(max(now - timedelta(hours=1), month) + timedelta(minutes=minutes), value)


def quieter(stage: Stage, **budget: str) -> None:
    """Slack alone, and repeats every second."""
    text = stage.config.read_text().replace('["oncall", "mail", "topic"]', '["oncall"]')
    stage.config.write_text(
        text.replace('period = "month"', 'period = "month"\nrepeat = { critical = "1s", warning = "1s" }')
    )


def status(stage: Stage) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(stage.run("status", "--json").stdout)
    return document


def turned_since(stage: Stage, last: str | None) -> bool:
    turn = status(stage)["daemon"]["last_turn"]
    return turn is not None and (last is None or turn > last)


def two_turns(stage: Stage) -> None:
    """What was published before is read and judged."""
    for _ in range(2):
        last = status(stage)["daemon"]["last_turn"]
        until(lambda last=last: turned_since(stage, last), "a turn")


def texts(stage: Stage) -> list[str]:
    return [message["text"] for message in stage.slack.messages]


def started(stage: Stage, daemon: Daemons) -> subprocess.Popen[str]:
    process = stage.start()
    daemon.append(process)
    until((stage.state / "control.sock").exists, "the socket")
    return process


def test_a_silence_of_the_running_daemon(stage: Stage, daemon: Daemons) -> None:
    quieter(stage)
    process = started(stage, daemon)
    two_turns(stage)
    done = stage.run("silence", "training", "--for", "1h", "--why", "load\ntest")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("training is silenced until ")
    (row,) = status(stage)["silences"]
    me = control.person()
    assert (row["budget"], row["kind"], row["by"], row["why"]) == ("training", "silence", me, "load test")
    spend(stage, "1100", minutes=1)
    until(lambda: status(stage)["state"] == "CRITICAL", "the breach")
    two_turns(stage)
    assert stage.slack.messages == []
    nagios = stage.run("status", "--nagios")
    assert nagios.returncode == 2, "the code stays"
    assert "USD (silenced until " in nagios.stdout
    table = stage.run("status").stdout
    assert "Not told for now" in table
    assert "why: load test" in table
    assert all(len(line) <= 80 for line in table.splitlines())
    done = stage.run("unsilence", "training")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "training is no longer silenced; if it is over a limit, that is told now\n"
    until(lambda: stage.slack.messages, "the message that the silence is over")
    assert "CRITICAL training: 1,100.00 of 1,000.00 USD" in texts(stage)[0]
    assert "it was silenced until" in json.dumps(stage.slack.messages[0])
    assert f"silenced by {me}: load test" in json.dumps(stage.slack.messages[0])
    assert status(stage)["silences"] == []
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Told by a person. command=silence" in output
    assert not (stage.state / "control.sock").exists()


@pytest.mark.slow
def test_a_silence_ends_by_itself_and_says_so_without_waiting_for_a_turn(stage: Stage, daemon: Daemons) -> None:
    quieter(stage)
    spend(stage, "1100", minutes=1)
    # Without a daemon: it is done by the command.
    assert stage.run("once").returncode == 0
    assert len(stage.slack.messages) == 1
    done = stage.run("silence", "training", "--for", "8s")
    assert done.returncode == 0, done.stderr
    assert status(stage)["silences"][0]["kind"] == "silence"
    assert not (stage.state / "control.sock").exists()
    text = stage.config.read_text()
    stage.config.write_text(
        text.replace('poll = "1s"', 'poll = "1h"').replace('{ critical = "1s", warning = "1s" }', '"never"')
    )
    started(stage, daemon)
    until(lambda: len(stage.slack.messages) == 2, "the message that the silence is over")
    assert "silenced until" in json.dumps(stage.slack.messages[1])
    assert texts(stage)[1].startswith("STILL CRITICAL training")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_survives_a_restart(stage: Stage, daemon: Daemons, how: signal.Signals) -> None:
    quieter(stage)
    process = started(stage, daemon)
    two_turns(stage)
    assert stage.run("silence", "training", "--for", "1h").returncode == 0
    process.send_signal(how)
    process.wait(30)
    assert [row["budget"] for row in status(stage)["silences"]] == ["training"]
    spend(stage, "1100", minutes=1)
    process = started(stage, daemon)
    until(lambda: status(stage)["state"] == "CRITICAL", "the breach")
    # A socket file that a kill has left is replaced, and the new one answers.
    assert stage.run("silence", "training", "--for", "2h").returncode == 0
    two_turns(stage)
    assert stage.slack.messages == []


def test_an_ack_stops_repeats_until_the_level_changes(stage: Stage, daemon: Daemons) -> None:
    quieter(stage)
    spend(stage, "850", minutes=1)
    started(stage, daemon)
    until(lambda: len(stage.slack.messages) >= 2, "a repeat")
    done = stage.run("ack", "training")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("acknowledged: training, actual 80% (warning).")
    assert [row["kind"] for row in status(stage)["silences"]] == ["ack"]
    assert "training is at 85% of 1,000.00 USD (acknowledged)" in stage.run("status", "--nagios").stdout
    two_turns(stage)  # what was under way when it was acknowledged has arrived
    before = len(stage.slack.messages)
    two_turns(stage)
    assert len(stage.slack.messages) == before
    assert stage.run("status").returncode == 1
    spend(stage, "1100", minutes=2)
    until(lambda: any(text.startswith("CRITICAL") for text in texts(stage)), "the higher level")
    until(lambda: any(text.startswith("STILL CRITICAL") for text in texts(stage)), "its repeat")
    assert status(stage)["silences"] == []


def test_nothing_is_lost_when_it_is_killed_in_a_silence(stage: Stage, daemon: Daemons) -> None:
    quieter(stage)
    assert stage.run("once").returncode == 0
    assert stage.run("silence", "training", "--for", "1h").returncode == 0
    spend(stage, "1100", minutes=1)
    process = started(stage, daemon)
    until(lambda: status(stage)["state"] == "CRITICAL", "the breach")
    assert stage.run("unsilence", "training").returncode == 0
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process = started(stage, daemon)
    until(lambda: stage.slack.messages, "the message that was held back")
    assert "it was silenced until" in json.dumps(stage.slack.messages[0])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["silence", "trainin", "--for", "4h"], 64, 'no budget is named "trainin"; did you mean "training"?'),
        (["silence", "training"], 64, "--for"),
        (["silence", "training", "--for", "31d"], 64, "expected --for with at most 30d"),
        (["silence", "training", "--for", "soon"], 64, 'expected a duration such as "90s"'),
        (["ack", "trainin"], 64, 'did you mean "training"?'),
        (["ack", "training"], 0, "training has no alarm that fires"),
        (["unsilence", "training"], 0, "training was not silenced"),
        (["unsilence", "nothing"], 64, 'no budget is named "nothing"'),
    ],
)
@pytest.mark.parametrize("running", [True, False])
def test_what_cannot_be_done_is_one_sentence(
    stage: Stage, daemon: Daemons, arguments: list[str], code: int, said: str, running: bool
) -> None:
    if running:
        started(stage, daemon)
        until(lambda: turned_since(stage, None), "a turn")
    else:
        stage.once("2026-11-02T06:00:00Z")
    done = stage.run(*arguments)
    assert (done.returncode, len((done.stderr + done.stdout).splitlines())) == (code, 1)
    assert said in done.stderr + done.stdout


def test_before_anything_is_stored_there_is_nothing_to_silence(stage: Stage) -> None:
    done = stage.run("silence", "training", "--for", "4h")
    assert done.returncode == 65
    assert "nothing is stored in" in done.stderr
    assert not stage.state.exists()


def test_a_lock_that_is_held_by_somebody_who_does_not_answer(stage: Stage, daemon: Daemons) -> None:
    process = started(stage, daemon)
    two_turns(stage)
    process.send_signal(signal.SIGSTOP)
    (stage.state / "control.sock").unlink()
    done = stage.run("silence", "training", "--for", "4h")
    process.send_signal(signal.SIGCONT)
    assert done.returncode == 75
    assert "holds" in done.stderr
    assert "does not answer" in done.stderr


# Another user may not read this checkout, so everything is imported before.
AS_NOBODY = """
import encodings.utf_8_sig, os, sys
import monitor.config, monitor.control, monitor.orders
from monitor.arguments import run
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("open_directory", [True, False])
def test_others_may_not(stage: Stage, daemon: Daemons, running: bool, open_directory: bool) -> None:
    if running:
        started(stage, daemon)
        until(lambda: turned_since(stage, None), "a turn")
    else:
        stage.once("2026-11-02T06:00:00Z")
    stage.config.chmod(0o644)
    for directory in (stage.directory, *stage.directory.parents):
        if not directory.stat().st_mode & 0o001:
            directory.chmod(0o755)
    if open_directory:
        stage.state.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, "--config", stage.config, "silence", "training", "--for", "4h"],
        env=stage.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (77, 1), done.stderr
    assert "as root (sudo) or as the user of the daemon" in done.stderr


def test_each_account_or_all_of_them(stage: Stage) -> None:
    stage.write_config(by='by = ["account"]')
    stage.config.write_text(stage.config.read_text().replace('period = "month"', 'period = "month"\neach = "account"'))
    for account, value in (("", "3000"), ("111122223333", "900"), ("444455556666", "2100")):
        stage.aws.publish_charge(datetime.now(UTC) - timedelta(minutes=30), value, account=account or None)
    assert stage.run("once").returncode == 0
    assert stage.run("silence", "training/111122223333", "--for", "1h").returncode == 0
    assert stage.run("silence", "training", "--for", "2h").stdout.startswith("every budget training/… is silenced")
    done = stage.run("unsilence", "training/444455556666")
    assert done.returncode == 64
    assert "end that: monitor unsilence training" in done.stderr
    said = stage.run("unsilence", "training").stdout
    assert said == "training is no longer silenced; if it is over a limit, that is told with the next turn\n"
    assert status(stage)["silences"] == []
    done = stage.run("ack", "training")
    assert "training/111122223333, actual 80% (warning); training/444455556666, actual 100% (critical)" in done.stdout


def test_the_socket_is_private_and_takes_the_place_of_what_is_there(
    stage: Stage, daemon: Daemons, tmp_path: Path
) -> None:
    stage.once("2026-11-02T06:00:00Z")
    other = tmp_path / "other"
    other.write_text("kept")
    (stage.state / "control.sock").symlink_to(other)
    process = stage.start()
    daemon.append(process)
    until(lambda: stat.S_ISSOCK((stage.state / "control.sock").lstat().st_mode), "the socket")
    assert (stage.state / "control.sock").lstat().st_mode & 0o777 == 0o600
    assert other.read_text() == "kept"


def test_a_turn_that_hangs_and_idle_connections_hold_up_no_silence(stage: Stage, daemon: Daemons) -> None:
    assert stage.run("once").returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes the connection and never speaks
        stage.environment["AWS_ENDPOINT_URL_CLOUDWATCH"] = f"http://127.0.0.1:{mute.getsockname()[1]}"
        started(stage, daemon)
        idle = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for one in idle:
            one.connect(str(stage.state / "control.sock"))
        began = time.monotonic()
        done = stage.run("silence", "training", "--for", "1h")
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < 15
        for one in idle:
            one.close()
    assert [row["budget"] for row in status(stage)["silences"]] == ["training"]


def test_many_at_once_are_all_heard(stage: Stage, daemon: Daemons) -> None:
    started(stage, daemon)
    until(lambda: turned_since(stage, None), "a turn")
    answers: list[str | None] = []

    def silence(hours: int) -> None:
        answers.append(control.ask(stage.state, "silence", {"budget": "training", "for_s": hours * 3600}))

    threads = [threading.Thread(target=silence, args=(hours,)) for hours in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12
    assert all(answer is not None and answer.startswith("training is silenced") for answer in answers)


def test_a_digest_comes_once_by_every_way_that_wants_it(stage: Stage) -> None:
    text = stage.config.read_text()
    for kind in ('type = "slack"', 'type = "email"'):
        text = text.replace(kind, f'{kind}\ndigest = "daily 09:00"')
    stage.config.write_text(text.replace("[monitor]", '[monitor]\ntimezone = "Europe/Berlin"'))
    stage.aws.publish_charge(datetime(2026, 11, 2, 6, tzinfo=UTC), "500")
    stage.once("2026-11-02T07:00:00Z")
    report = stage.once("2026-11-02T08:05:00Z")
    made = {one["receiver"]: one["state"] for one in report["notifications"]}
    assert made == {"oncall": "SENT", "mail": "SENT"}
    stage.once("2026-11-02T12:00:00Z")
    (message,) = stage.slack.messages
    (mail,) = stage.mail.mails
    assert message["text"] == "DIGEST: 1 budget within limits, 2 Nov 2026"
    for text in (json.dumps(message), mail.raw.decode()):
        assert "training: 500.00 of 1,000.00 USD, 50%" in text
        assert "Fired since 2 Nov 2026 08:00 CET" in text
    assert stage.aws.delivered(stage.topic) == []
