"""`check-config`: what it prints, and its exit code."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from monitor import check_config, registry
from monitor.errors import AccessError

ROOT = Path(__file__).parents[2]


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
