"""The commands as a person types them: what they print, and their exit codes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from monitor.simulation.slack import Answer
from tests.e2e.conftest import Stage
from tests.e2e.test_bill_to_message import publish


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["spnd"], "spnd"),
        (["once", "--as-of", "yesterday"], "'yesterday' is not a time such as 2026-11-23"),
        (
            ["spend", "--by", "colour"],
            "--by colour: expected one of source, account, service, region, run, day or tag:KEY",
        ),
        (["spend", "--by", "tag:"], "--by tag:: expected one of source"),
        (["compare", "--hours", "5", "--on", "x", "--gpu-hours", "4", "--gpu", "H100"], "say once what the work is"),
        (["spend", "--since", "2026-11-02", "--until", "2026-11-01"], "is not before --until"),
        (["spend", "--since", "2999-01-01"], "monitor: --since 2999-01-01T00:00:00Z lies in the future\n"),
        (["plan", "x", "extra"], "unrecognized arguments: extra; try: monitor plan --help\n"),
        (
            ["alarms", "plan", "extra", "--more"],
            "unrecognized arguments: extra --more; try: monitor alarms plan --help\n",
        ),
        (["--more"], "unrecognized arguments: --more; try: monitor --help\n"),
        (["notify"], "RECEIVER"),
        (["notify", "oncal"], "no receiver 'oncal'; there are: oncall, mail, topic"),
        (["alarms"], "WHAT"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_64(stage: Stage, arguments: list[str], said: str) -> None:
    stage.once("2026-11-02T06:00:00Z")
    done = stage.run(*arguments)
    assert done.returncode == 64
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_shows_examples(stage: Stage) -> None:
    done = stage.run("--help")
    assert done.returncode == 0
    assert "monitor demo" in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


def test_options_work_before_and_after_the_command(stage: Stage, tmp_path: Path) -> None:
    publish(stage, {"2026-11-02": "10"})
    for number, arguments in enumerate(
        (
            ["--state-dir", str(tmp_path / "0"), "once", "--as-of", "2026-11-02T06:00:00Z"],
            ["once", "--as-of", "2026-11-02T06:00:00Z", "--state-dir", str(tmp_path / "1")],
        )
    ):
        assert stage.run(*arguments).returncode == 0
        assert (tmp_path / str(number) / "ledger.db").exists()


def test_spend_before_anything_is_stored_says_what_to_do(stage: Stage) -> None:
    done = stage.run("spend")
    assert done.returncode == 65
    assert "nothing is stored in" in done.stderr
    assert not stage.state.exists()


def test_spend_groups_and_adds_up_to_the_total(stage: Stage) -> None:
    stage.write_config(by='by = ["service", "account"]')
    publish(stage, {"2026-11-02": "100.10", "2026-11-03": "130.30"})
    publish(stage, {"2026-11-02": "90", "2026-11-03": "120"}, service="AmazonEC2", account="111122223333")
    publish(stage, {"2026-11-02": "95", "2026-11-03": "125"}, account="111122223333")
    stage.once("2026-11-03T06:00:00Z")
    span = ["--since", "2026-11-01", "--until", "2026-12-01"]

    def rows(by: str) -> dict[str, str]:
        done = stage.run("spend", "--json", "--by", by, *span)
        document = json.loads(done.stdout)
        (total,) = document["totals"]
        assert total == {"currency": "USD", "billed": "130.3", "accrued": "0", "credits": "0", "net": "130.3"}
        return {row["key"]: row["billed"] for row in document["rows"]}

    assert rows("source") == {"aws": "130.3"}
    assert rows("account") == {"111122223333": "125", "(unattributed)": "5.3"}
    assert rows("service") == {"AmazonEC2": "120", "(unattributed)": "10.3"}
    assert rows("day") == {"2026-11-01": "100.1", "2026-11-02": "30.2"}
    table = stage.run("spend", "--by", "service", *span).stdout
    assert "AmazonEC2" in table
    assert "130.30 USD" in table
    assert all(len(line) <= 80 for line in table.splitlines())


def test_a_budget_for_each_account(stage: Stage) -> None:
    stage.write_config(by='by = ["account"]')
    text = stage.config.read_text().replace('period = "month"', 'period = "month"\neach = "account"')
    stage.config.write_text(text)
    publish(stage, {"2026-11-02": "1700"})
    publish(stage, {"2026-11-02": "900"}, account="111122223333")
    publish(stage, {"2026-11-02": "800"}, account="444455556666")
    report = stage.once("2026-11-02T06:00:00Z")
    assert {t["budget"] for t in report["transitions"]} == {"training/111122223333", "training/444455556666"}


def test_notify_says_whether_it_was_accepted(stage: Stage) -> None:
    done = stage.run("notify", "oncall")
    assert (done.returncode, done.stdout) == (0, "accepted by oncall\n")
    assert "Test message" in json.dumps(stage.slack.messages)
    stage.environment["SLACK_WEBHOOK"] = "http://127.0.0.1:9/services/T0/B0/canary-secret"
    failed = stage.run("notify", "oncall")
    assert failed.returncode == 69
    assert len(failed.stderr.splitlines()) >= 1
    assert "canary-secret" not in failed.stderr + failed.stdout


def test_a_secret_that_is_not_there_is_one_sentence_and_78(stage: Stage) -> None:
    del stage.environment["SLACK_WEBHOOK"]
    for command in (["run"], ["once"], ["notify", "oncall"]):
        done = stage.run(*command)
        assert done.returncode == 78
        assert "SLACK_WEBHOOK" in done.stderr


def test_a_closed_pipe_is_nobodys_fault(stage: Stage) -> None:
    publish(stage, {"2026-11-02": "10"})
    stage.once("2026-11-02T06:00:00Z")
    line = " ".join(stage.command("spend", "--json", "--since", "2026-11-01", "--until", "2026-12-01")) + " | true"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], env=stage.environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr


def test_once_for_people_reads_like_a_note(stage: Stage) -> None:
    publish(stage, {"2026-11-02": "850"})
    done = stage.run("once", "--as-of", "2026-11-02T06:00:00Z")
    assert done.returncode == 0
    assert "source aws: 1 charges" in done.stdout
    assert "training: actual 80% (warning) OK -> FIRING: already over" in done.stdout
    assert "to oncall: SENT" in done.stdout


def test_of_a_secret_in_the_config_only_check_config_and_run_warn(
    stage: Stage, daemon: list[subprocess.Popen[str]]
) -> None:
    stage.config.write_text(stage.config.read_text().replace("env:SLACK_WEBHOOK", stage.slack.url))
    del stage.environment["MONITOR_DEBUG"]
    publish(stage, {"2026-11-02": "850"})
    for command in (["once", "--as-of", "2026-11-02T06:00:00Z"], ["notify", "oncall"], ["ack", "training"], ["plan"]):
        done = stage.run(*command)
        assert (done.returncode, done.stderr) == (0, "")
    assert "a secret stands in the config itself" in stage.run("check-config").stdout
    process = stage.start()
    daemon.append(process)
    assert process.stdout is not None
    assert "a secret stands in the config itself" in process.stdout.readline()


def test_until_alone_means_the_month_before_then(stage: Stage) -> None:
    stage.once("2026-11-02T06:00:00Z")
    assert '"since": "2026-10-01T00:00:00Z"' in stage.run("spend", "--until", "2026-11-01", "--json").stdout


def test_once_says_why_a_message_is_not_there_yet(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(stage, {"2026-11-02": "850"})
    monkeypatch.setattr(stage.slack, "answer", lambda body: Answer(503, b"no"))
    done = stage.run("once", "--as-of", "2026-11-02T06:00:00Z")
    told = "  message training actual 80% (warning) to oncall: not yet, the next turn tries again ("
    assert "503" in next(line for line in done.stdout.splitlines() if line.startswith(told))


def test_a_misspelt_service_is_said_with_the_nearest_that_was_billed(stage: Stage) -> None:
    more = """
[[budgets]]
name = "misspelt"
amount = "10"
currency = "USD"
scope = { service = "AmazonEC3" }
receivers = ["oncall"]
"""
    stage.write_config(by='by = ["service"]', more=more)
    publish(stage, {"2026-11-02": "5"})
    publish(stage, {"2026-11-02": "5"}, service="AmazonEC2")
    stage.once("2026-11-02T06:00:00Z")
    rows = {row["name"]: row for row in json.loads(stage.run("status", "--json").stdout)["budgets"]}
    sentence = 'no charge of service "AmazonEC3" was ever seen; did you mean "AmazonEC2"?'
    assert (rows["misspelt"]["spend"], rows["misspelt"]["unseen"]) == (None, [sentence])
    text = " ".join(stage.run("status", "--as-of", "2026-11-02T06:00:01Z").stdout.split())
    assert 'misspelt: its spend is not known: no charge of service "AmazonEC3" was ever seen; did you mean' in text
    assert "Next: mend the budget's `scope`" in text
