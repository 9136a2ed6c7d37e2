"""`check-config`: what it prints, and its exit code."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from monitor import advice, check_config, registry
from monitor.errors import AccessError

ROOT = Path(__file__).parents[2]
# Those that the shipped config names.
SECRETS = {"SLACK_WEBHOOK": "https://hooks.slack.com/services/T/B/canary", "SMTP_PASSWORD": "canary"}


class Source:
    """A source that answers a probe, or refuses."""

    def __init__(self, answer: str | AccessError) -> None:
        self.answer = answer

    def probe(self) -> str:
        if isinstance(self.answer, AccessError):
            raise self.answer
        return self.answer


@pytest.fixture
def shipped(tmp_path):
    return written(tmp_path, (ROOT / "config.toml").read_text(encoding="utf-8"))


def written(directory: Path, text: str) -> Path:
    path = directory / "config.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def checked(path: Path, *, live: bool = False, as_json: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    code = check_config.run(path, live=live, as_json=as_json, out=out)
    return code, out.getvalue()


def test_a_good_config_is_summed_up(shipped):
    code, text = checked(shipped)
    assert code == 0
    assert text == (
        f"{shipped}: no problems.\n"
        "\n"
        "what      name         how\n"
        "source    aws          aws_cloudwatch, USD, every 1h\n"
        "receiver  oncall       slack\n"
        "receiver  mail         email\n"
        "receiver  topic        sns\n"
        "budget    everything   5000 USD a month: warning at 80%, critical at 100%, warning at forecast 100% "
        "-> oncall, mail, topic\n"
        "budget    training     1000 USD a month: warning at 500 USD, warning at 80%, critical at 100% "
        "-> oncall, mail\n"
        "budget    deepseek     20000 USD for a run from 1 Dec 2026 until 24 Jan 2027: critical at 100%, "
        "warning at 120% of the plan, critical at 100% at completion -> oncall, mail\n"
        "local     rig          4 x A100-80GB, USD\n"
        "plan      deepseek-ft  3 phases from 1 Dec 2026 -> deepseek\n"
    )


def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(shipped):
    _, whole = checked(shipped)
    for width in (60, 80, 100):
        out = io.StringIO()
        check_config.run(shipped, live=False, as_json=False, out=out, width=width)
        table = out.getvalue().split("\n\n")[1].splitlines()
        assert max(map(len, table)) <= width
        assert out.getvalue().split() == whole.split()


def test_a_bad_one_is_told_with_every_problem(tmp_path):
    path = written(tmp_path, "[monitor]\npol = 1\n[[inventory]]\n[[sources]]\n")
    code, text = checked(path)
    assert code == 78
    assert text.splitlines()[0] == f'{path}:2: monitor.pol: unknown key; did you mean "poll"?'
    assert text.splitlines()[1] == f"{path}:3: inventory: [[inventory]] is not in this version; remove it"
    assert text.splitlines()[-1] == "4 problems."


def test_a_bad_one_as_json(tmp_path):
    path = written(tmp_path, "[monitor]\npoll = 5m\n")
    code, text = checked(path, as_json=True)
    document = json.loads(text)
    (problem,) = document["problems"]
    assert (code, document["schema"], document["ok"]) == (78, 1, False)
    assert (problem["file"], problem["line"], problem["path"]) == (str(path), 2, "")


def test_a_good_one_as_json(shipped):
    code, text = checked(shipped, as_json=True)
    document = json.loads(text)
    assert (code, document["ok"], document["problems"], document["warnings"]) == (0, True, [], [])
    assert document["budgets"][0] == {"name": "everything", "amount": "5000", "currency": "USD", "period": "month"}


def test_warnings_are_printed_and_do_no_harm(tmp_path):
    code, text = checked(written(tmp_path, '[[sources]]\nname = "aws"\ntype = "aws_cloudwatch"\n'))
    assert code == 0
    assert text.count("(warning)") == 2


@pytest.mark.parametrize(
    ("answer", "code", "word"), [("3 metrics seen", 0, "ok"), (AccessError("The key is not valid."), 78, "FAILED")]
)
def test_live_tries_each_source(shipped, monkeypatch, answer, code, word):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(registry, "create", lambda settings: Source(answer))
    found, text = checked(shipped, live=True)
    assert found == code
    assert text.splitlines()[-2:] == ["live  result", f"aws   {word:6}  {answer}"]
    assert ("but 1 of 1 sources cannot be read" in text.splitlines()[0]) == (code != 0)
    found, text = checked(shipped, live=True, as_json=True)
    assert (found, json.loads(text)["ok"]) == (code, code == 0)
    assert json.loads(text)["live"] == [{"source": "aws", "ok": code == 0, "detail": str(answer)}]


def test_without_live_no_source_is_made(shipped, monkeypatch):
    monkeypatch.setattr(registry, "create", None)
    assert checked(shipped)[0] == 0


AZURE = 'scope = "/subscriptions/00000000-0000-0000-0000-000000000000"'
RECEIVERS = """
[monitor]
heartbeat_url = "env:HEARTBEAT"
[[sources]]
name = "aws"
type = "aws_cloudwatch"
[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:SLACK_WEBHOOK"
[[receivers]]
name = "topic"
type = "sns"
topic_arn = "arn:aws:sns:us-east-1:123456789012:MyTopic"
"""


NOT_SLACK = (
    "webhook_url is not one of Slack's: expected https://hooks.slack.com/services/..., "
    "or allow_private = true for a server of your own"
)


@pytest.mark.parametrize(
    ("environment", "bad", "said"),
    [
        (
            {},
            ["oncall", "heartbeat_url"],
            "The environment variable SLACK_WEBHOOK is not set: export it with the secret as its value",
        ),
        (
            {"SLACK_WEBHOOK": "https://hooks.slack.com/services/canary", "HEARTBEAT": "https://example.com/canary"},
            [],
            "its secrets are there; `monitor notify oncall` tries it",
        ),
        (
            {"SLACK_WEBHOOK": "https://example.com/canary", "HEARTBEAT": "canary"},
            ["oncall", "heartbeat_url"],
            NOT_SLACK,
        ),
    ],
)
def test_live_looks_for_the_secrets_that_once_would_need(tmp_path, monkeypatch, environment, bad, said):
    """What `once` refuses to start for is found before; no secret is shown."""
    monkeypatch.setattr(registry, "create", lambda settings: Source("seen"))
    for name in ("SLACK_WEBHOOK", "HEARTBEAT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    path = written(tmp_path, RECEIVERS)
    code, text = checked(path, live=True)
    assert code == (78 if bad else 0)
    first = next(line for line in text.splitlines() if ": no problems" in line)
    assert first.endswith(f" in the file, but {len(bad)} of 3 receivers cannot be used." if bad else ": no problems.")
    assert f"  {said}\n" in text
    json_code, found = checked(path, live=True, as_json=True)
    ready = {row.get("receiver") or row["monitor"]: row["ok"] for row in json.loads(found)["ready"]}
    assert (json_code, ready) == (code, {name: name not in bad for name in ("oncall", "topic", "heartbeat_url")})
    assert "canary" not in text + found


@pytest.mark.parametrize(
    ("package", "kind", "extra"),
    [
        ("boto3", "aws_cloudwatch", "aws"),
        ("google.cloud.bigquery", "gcp_billing_export", "gcp"),
        ("azure.identity", "azure_cost", "azure"),
    ],
)
def test_an_extra_that_is_not_installed_is_a_warning(tmp_path, monkeypatch, package, kind, extra):
    monkeypatch.setitem(sys.modules, package, None)
    more = {"gcp": 'table = "bill-proj.billing.gcp_billing_export_v1_0123AB_4567CD_89EF01"', "azure": AZURE}
    source = f'[[sources]]\nname = "s"\ntype = "{kind}"\n{more.get(extra, "")}\n'
    path = written(tmp_path, source + (RECEIVERS[RECEIVERS.index("[[receivers]]") :] if extra == "aws" else ""))
    code, text = checked(path)
    assert code == 0
    wanted = (
        f"{path}:3: sources[0].type: nothing can be read: the package {package} is not installed; "
        f"run: pip install 'cloud-budget-monitor[{extra}]' (warning)"
    )
    assert [line for line in text.splitlines() if "pip install" in line] == [wanted], "once for all that need it"


def test_a_receiver_that_lacks_its_extra_is_a_warning_too(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    path = written(tmp_path, RECEIVERS.replace('type = "aws_cloudwatch"', f'type = "azure_cost"\n{AZURE}'))
    assert "receivers[1].type: nothing can be sent: the package boto3 is not installed" in checked(path)[1]


def test_every_source_says_which_extra_it_needs():
    assert {name.partition("_")[0] for name in registry.names()} == set(advice.PACKAGES)


SHORT = (
    "2: monitor.poll: all budgets are judged anew every 1s, and no source is read more often for it; "
    'write "10s" or more'
)


@pytest.mark.parametrize(
    ("poll", "every", "warned"),
    [
        (
            "5m",
            "1m",
            ["6: sources[0].every: is shorter than a turn: it is read every 5m, as often as [monitor].poll says"],
        ),
        ("5m", "5m", []),
        (
            "1s",
            "1h",
            [SHORT],
        ),
        ("10s", "1h", []),
        ("6h", None, []),
    ],
)
def test_a_pace_that_is_hardly_meant_is_a_warning(tmp_path, poll, every, warned):
    text = f'[monitor]\npoll = "{poll}"\n[[sources]]\nname = "aws"\ntype = "aws_cloudwatch"\n'
    path = written(tmp_path, text + (f'every = "{every}"\n' if every else ""))
    code, text = checked(path)
    paces = [line for line in text.splitlines() if ".poll" in line or ".every" in line]
    assert (code, paces) == (0, [f"{path}:{one} (warning)" for one in warned])
