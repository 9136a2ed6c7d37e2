"""What stored facts amount to: every row of the contract's table, the JSON that scripts read, and both texts."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.clock import to_text
from monitor.status import words
from monitor.status.judge import judge
from monitor.status.nagios import nagios
from monitor.status.render import render
from monitor.status.words import Problem, State, lasting, one_line, worst

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
SECOND, MINUTE, H = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
CODES = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}


def ago(age: timedelta | None) -> str | None:
    return None if age is None else to_text(NOW - age)


def source(name: str = "aws", *, poll: timedelta | None = MINUTE, data: timedelta | None = 3 * H, **facts: Any) -> Any:
    return {
        "name": name,
        "type": "aws_cloudwatch",
        "every_s": 3600,
        "first_attempt": ago(300 * H),
        "last_attempt": ago(MINUTE),
        "last_poll": ago(poll),
        "data_as_of": ago(data),
        "access": True,
        "missing": [],
        "error": None,
        "late_poll_s": 3 * 3600,
        "stale_poll_s": 26 * 3600,
        "late_data_s": 36 * 3600,
        "stale_data_s": 48 * 3600,
        "calls": 310,
        "cost_usd": "0.31",
        **facts,
    }


def never(name: str = "aws") -> Any:
    return source(name, poll=None, data=None, first_attempt=None)


def alarm(severity: str = "warning", state: str = "OK", **facts: Any) -> Any:
    at = {"warning": "80%", "critical": "100%"}[severity]
    since = ago(2 * H) if state != "OK" else None
    return {"on": "actual", "at": at, "severity": severity, "state": state, "data": "OK", "since": since, **facts}


def budget(*alarms: Any, name: str = "training", **facts: Any) -> Any:
    return {
        "name": name,
        "currency": "USD",
        "amount": "1000",
        "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
        "spend": "853.75",
        "billed": "812.55",
        "accrued": "41.2",
        "data_as_of": ago(3 * H),
        "lower_bound": False,
        "sources": ["aws"],
        "alarms": list(alarms) or [alarm(), alarm("critical")],
        **facts,
    }


def receiver(name: str = "oncall", *, owed: int = 0, oldest: timedelta | None = None, **facts: Any) -> Any:
    return {
        "name": name,
        "state": "OK",
        "since": None,
        "error": None,
        "last_delivery": ago(2 * H),
        "undelivered": owed,
        "oldest_due": ago(oldest),
        **facts,
    }


def health(severity: str, subject: str = "config: reload") -> Any:
    return {"subject": subject, "severity": severity, "state": "FIRING", "since": ago(H), "detail": "it is broken"}


def facts(**parts: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "version": "0.1.0",
        "written_at": ago(MINUTE),
        "turn_at": ago(MINUTE),
        "poll_s": 300,
        "timezone": "UTC",
        "sources": [source()],
        "budgets": [budget()],
        "health": [],
        "receivers": [receiver()],
        "native": [],
        **parts,
    }


def status(document: dict[str, Any] | None, **given: Any) -> dict[str, Any]:
    return judge(document, NOW, **{"running": True, **given})


def twin(state: str) -> Any:
    return {"budget": "training", "cloud": "aws", "state": state}


FIRING_WARNING, FIRING_CRITICAL = alarm("warning", "FIRING"), alarm("critical", "FIRING")
NO_DATA = alarm(data="NO_DATA")
STALE, LATE = source(poll=27 * H), source(data=37 * H)
NO_ACCESS = source(access=False, error="denied")
STALE_HEALTH = health("critical", "source aws: stale")
EARLIER = {"period_start": "2026-10-01T00:00:00Z"}

TABLE: list[tuple[str, dict[str, Any] | None, str]] = [
    # nothing wrong
    ("all fine", facts(), "OK"),
    ("nothing configured", facts(budgets=[], sources=[], receivers=[]), "OK"),
    ("two of everything", facts(budgets=[budget(), budget(name="b")], sources=[source(), source("gcp")]), "OK"),
    ("over the amount without an alarm on it", facts(budgets=[budget(alarm(at="200%"), spend="1500")]), "OK"),
    ("a credit", facts(budgets=[budget(spend="-3.1")]), "OK"),
    ("a twin in sync", facts(native=[twin("IN_SYNC")]), "OK"),
    # alarms
    ("warning fires", facts(budgets=[budget(FIRING_WARNING)]), "WARNING"),
    ("critical fires", facts(budgets=[budget(FIRING_CRITICAL)]), "CRITICAL"),
    ("both fire", facts(budgets=[budget(FIRING_WARNING, FIRING_CRITICAL)]), "CRITICAL"),
    ("pending warning informs", facts(budgets=[budget(alarm("warning", "PENDING"))]), "OK"),
    ("pending critical informs", facts(budgets=[budget(alarm("critical", "PENDING"))]), "OK"),
    ("second budget fires", facts(budgets=[budget(), budget(FIRING_WARNING, name="b")]), "WARNING"),
    ("a forecast fires", facts(budgets=[budget(alarm("warning", "FIRING", on="forecast"))]), "WARNING"),
    ("warning of an earlier period", facts(budgets=[budget(alarm("warning", "FIRING", **EARLIER))]), "WARNING"),
    ("critical of an earlier period", facts(budgets=[budget(alarm("critical", "FIRING", **EARLIER))]), "CRITICAL"),
    ("pending of an earlier period", facts(budgets=[budget(alarm("critical", "PENDING", **EARLIER))]), "OK"),
    ("closed of an earlier period", facts(budgets=[budget(alarm("critical", "CLOSED", **EARLIER))]), "OK"),
    # no data
    ("an alarm without data", facts(budgets=[budget(NO_DATA)]), "UNKNOWN"),
    ("spend not known", facts(budgets=[budget(spend=None)]), "UNKNOWN"),
    ("warning without data", facts(budgets=[budget(alarm("warning", "FIRING", data="NO_DATA"))]), "WARNING"),
    ("critical without data", facts(budgets=[budget(alarm("critical", "FIRING", data="NO_DATA"))]), "CRITICAL"),
    ("pending without data", facts(budgets=[budget(alarm("warning", "PENDING", data="NO_DATA"))]), "UNKNOWN"),
    ("one without data, one fires", facts(budgets=[budget(NO_DATA), budget(FIRING_WARNING, name="b")]), "WARNING"),
    # sources
    ("late by poll", facts(sources=[source(poll=4 * H)]), "UNKNOWN"),
    ("late by data", facts(sources=[LATE]), "UNKNOWN"),
    ("stale by poll", facts(sources=[STALE]), "UNKNOWN"),
    ("stale by data", facts(sources=[source(data=49 * H)]), "UNKNOWN"),
    ("stale by poll, at the hard limit", facts(sources=[source(poll=52 * H)]), "UNKNOWN"),
    ("stale by poll, past the hard limit", facts(sources=[source(poll=52 * H + SECOND)]), "CRITICAL"),
    ("stale by data, past the hard limit", facts(sources=[source(data=96 * H + SECOND)]), "CRITICAL"),
    ("partial", facts(sources=[source(missing=["account 1"])]), "UNKNOWN"),
    ("no access", facts(sources=[NO_ACCESS]), "UNKNOWN"),
    ("no access, past the hard limit", facts(sources=[source(poll=53 * H, access=False)]), "CRITICAL"),
    ("never tried", facts(sources=[never()]), "UNKNOWN"),
    ("no data yet", facts(sources=[source(data=None, first_attempt=ago(H))]), "UNKNOWN"),
    ("no data ever", facts(sources=[source(data=None, first_attempt=ago(97 * H))]), "CRITICAL"),
    ("an error, but fresh", facts(sources=[source(error="503")]), "OK"),
    ("one of two is late", facts(sources=[source(), source("gcp", data=37 * H)]), "UNKNOWN"),
    ("stale while a warning fires", facts(sources=[STALE], budgets=[budget(FIRING_WARNING)]), "WARNING"),
    ("partial while critical fires", facts(sources=[STALE], budgets=[budget(FIRING_CRITICAL)]), "CRITICAL"),
    # turns
    ("nothing stored", None, "UNKNOWN"),
    ("no turn yet", facts(turn_at=None), "UNKNOWN"),
    ("no turn yet, a warning fires", facts(turn_at=None, budgets=[budget(FIRING_WARNING)]), "WARNING"),
    ("last turn 15 min ago", facts(turn_at=ago(15 * MINUTE)), "OK"),
    ("last turn more than 15 min ago", facts(turn_at=ago(15 * MINUTE + SECOND)), "CRITICAL"),
    ("slow poll, last turn 3 polls ago", facts(turn_at=ago(3 * H), poll_s=3600), "OK"),
    ("slow poll, last turn more than 3 polls ago", facts(turn_at=ago(3 * H + SECOND), poll_s=3600), "CRITICAL"),
    ("fast poll has 15 min all the same", facts(turn_at=ago(14 * MINUTE), poll_s=10), "OK"),
    ("last turn a little in the future", facts(turn_at=ago(-15 * MINUTE)), "OK"),
    ("last turn far in the future", facts(turn_at=ago(-16 * MINUTE)), "UNKNOWN"),
    # messages
    ("owed for 15 min", facts(receivers=[receiver(owed=1, oldest=15 * MINUTE)]), "OK"),
    ("owed for longer", facts(receivers=[receiver(owed=1, oldest=15 * MINUTE + SECOND)]), "CRITICAL"),
    ("dead receiver", facts(receivers=[receiver(state="DEAD", error="410")]), "CRITICAL"),
    ("one of two dead", facts(receivers=[receiver(), receiver("mail", state="DEAD")]), "CRITICAL"),
    ("never told anything", facts(receivers=[receiver(last_delivery=None)]), "OK"),
    # native alarms
    ("drifted twin", facts(native=[twin("DRIFTED")]), "WARNING"),
    ("missing twin", facts(native=[twin("MISSING")]), "WARNING"),
    ("unknown twin", facts(native=[twin("UNKNOWN")]), "UNKNOWN"),
    # the daemon's own alarms
    ("health warning", facts(health=[health("warning")]), "WARNING"),
    ("health critical", facts(health=[health("critical")]), "CRITICAL"),
    ("disk full", facts(health=[health("critical", "disk: full")]), "CRITICAL"),
    ("disk read-only", facts(health=[health("critical", "disk: read-only")]), "CRITICAL"),
    ("disk failing", facts(health=[health("critical", "disk: failing")]), "CRITICAL"),
    ("disk full and all told", facts(health=[health("critical", "disk: full")], sources=[LATE]), "CRITICAL"),
    ("store damaged", facts(health=[health("critical", "store: damaged")]), "CRITICAL"),
    ("store gone", facts(health=[health("critical", "store: missing")]), "CRITICAL"),
    ("store of an earlier time", facts(health=[health("critical", "store: went back")]), "CRITICAL"),
    ("no backup", facts(health=[health("warning", "store: not backed up")]), "WARNING"),
    ("a source is judged by its own row", facts(sources=[STALE], health=[STALE_HEALTH]), "UNKNOWN"),
    ("so is a receiver", facts(health=[health("critical", "receiver oncall: dead")]), "OK"),
    ("a source that is not listed is not", facts(health=[health("critical", "source old: stale")]), "CRITICAL"),
    # worst of
    ("UNKNOWN and WARNING", facts(sources=[LATE], native=[twin("DRIFTED")]), "WARNING"),
    ("UNKNOWN and CRITICAL", facts(sources=[LATE], receivers=[receiver(state="DEAD")]), "CRITICAL"),
    ("all at once", facts(sources=[STALE], budgets=[budget(FIRING_CRITICAL)], turn_at=ago(H)), "CRITICAL"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_state_to_code(document: dict[str, Any] | None, expected: str) -> None:
    result = status(document)
    assert (result["state"], result["exit_code"]) == (expected, CODES[expected])
    assert nagios(result).startswith(f"BUDGET {expected} - ")
    assert render(result, colour=False).startswith(f"{expected} ")
    assert result["summary"]
    assert "\n" not in result["summary"]


def test_the_table_has_sixty_states() -> None:
    assert len(TABLE) >= 60


def test_the_order_of_states() -> None:
    order = [State.OK, State.UNKNOWN, State.WARNING, State.CRITICAL]
    for low in order:
        for high in order[order.index(low) :]:
            assert worst([low, high]) is worst([high, low]) is high
    assert worst([]) is State.OK


@pytest.mark.parametrize("running", [True, False])
def test_whether_the_daemon_runs_only_informs(running: bool) -> None:
    result = status(facts(), running=running)
    assert (result["state"], result["daemon"]) == ("OK", {"running": running, "last_turn": ago(MINUTE)})


@pytest.mark.parametrize(("age", "state"), [(MINUTE, "OK"), (H, "CRITICAL")])
def test_what_cannot_be_told_of_the_daemon_is_not_guessed(age: timedelta, state: str) -> None:
    result = status(facts(turn_at=ago(age)), running=None)
    assert (result["daemon"]["running"], result["state"]) == (None, state)
    screen = render(result, colour=False)
    assert "Whether a daemon runs is not known here, last turn" in screen
    assert ("the daemon hangs or does not run: last turn 60 min ago" in screen) is (state == "CRITICAL")


def test_newer_receivers_than_those_of_the_document_count() -> None:
    assert status(facts(), receivers=[receiver(state="DEAD")])["exit_code"] == 2
    assert status(facts(receivers=[receiver(state="DEAD")]), receivers=[receiver()])["exit_code"] == 0


def test_trouble_with_reading_counts_and_is_told() -> None:
    trouble = Problem(State.UNKNOWN, "the store is damaged", "restart the daemon")
    assert status(facts(), trouble=trouble)["exit_code"] == 3
    assert status(None, trouble=trouble)["summary"] == "the store is damaged"
    assert status(facts(budgets=[budget(FIRING_CRITICAL)]), trouble=trouble)["exit_code"] == 2


@pytest.mark.parametrize(
    "broken",
    [
        facts(budgets=[budget(spend="NaN")]),
        facts(budgets=[budget(spend="1e999")]),
        facts(budgets=[budget(spend=853.75)]),
        facts(budgets=[budget(alarm(state="firing"))]),
        facts(budgets=[budget({**FIRING_CRITICAL, "severity": "loud"})]),
        facts(sources=[{"name": "aws"}]),
        facts(health=[health("loud")]),
        facts(turn_at="yesterday"),
    ],
)
def test_what_is_not_understood_is_never_fine(broken: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        status(broken)


# --budget


def test_one_budget_alone_with_its_sources() -> None:
    document = facts(
        budgets=[budget(), budget(FIRING_CRITICAL, name="other", sources=["gcp"])],
        sources=[source(), source("gcp", poll=99 * H)],
        native=[{**twin("MISSING"), "budget": "other"}],
    )
    result = status(document, budget="training")
    assert (result["state"], len(result["budgets"]), [row["name"] for row in result["sources"]]) == ("OK", 1, ["aws"])
    assert status(document, budget="other")["exit_code"] == 2


def test_all_that_each_has_made_of_a_budget() -> None:
    made = [budget(name="per/1"), budget(FIRING_CRITICAL, name="per/2", sources=["gcp"]), budget(name="person")]
    silenced = [{"budget": name, "kind": "silence", "since": ago(H), "until": None} for name in ("per/1", "person")]
    twins = [{**twin("IN_SYNC"), "budget": name} for name in ("per/2", "person")]
    document = facts(budgets=made, sources=[source(), source("gcp")], native=twins, silences=silenced)
    result = status(document, budget="per")
    assert [row["name"] for row in result["budgets"]] == ["per/1", "per/2"]
    assert [row["budget"] for row in (*result["silences"], *result["native"])] == ["per/1", "per/2"]
    assert result["exit_code"] == 2
    assert nagios(result).startswith("BUDGET CRITICAL - per/2 is at 85%")
    assert "'per/1_usd'=" in nagios(result)
    assert "person" not in nagios(result)


def test_the_daemon_and_receivers_count_for_every_budget() -> None:
    assert status(facts(receivers=[receiver(state="DEAD")]), budget="training")["exit_code"] == 2
    assert status(facts(turn_at=ago(H)), budget="training")["exit_code"] == 2


# JSON


def test_json_keys_and_money() -> None:
    result = json.loads(json.dumps(status(facts(budgets=[budget(FIRING_WARNING)], native=[twin("IN_SYNC")]))))
    assert result["schema"] == 1
    assert result["as_of"] == "2026-11-23T18:00:00Z"
    assert {"state", "exit_code", "summary", "daemon", "sources", "budgets", "receivers", "native"} <= set(result)
    (one,) = result["budgets"]
    assert {key: one[key] for key in ("name", "currency", "amount", "billed", "accrued", "spend")} == {
        "name": "training",
        "currency": "USD",
        "amount": "1000",
        "billed": "812.55",
        "accrued": "41.2",
        "spend": "853.75",
    }
    assert one["period"] == {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"}
    assert [one[key] for key in ("forecast", "planned", "at_completion")] == [None, None, None]
    assert one["alarms"] == [FIRING_WARNING]
    (read,) = result["sources"]
    assert {key: read[key] for key in ("name", "freshness", "last_poll", "data_as_of", "error")} == {
        "name": "aws",
        "freshness": "FRESH",
        "last_poll": "2026-11-23T17:59:00Z",
        "data_as_of": "2026-11-23T15:00:00Z",
        "error": None,
    }
    (told,) = result["receivers"]
    assert {key: told[key] for key in ("name", "state", "undelivered", "last_delivery")} == {
        "name": "oncall",
        "state": "OK",
        "undelivered": 0,
        "last_delivery": "2026-11-23T16:00:00Z",
    }
    assert result["native"] == [twin("IN_SYNC")]
    assert floats_in(result) == []


def test_what_the_monitor_itself_has_cost() -> None:
    result = status(facts(sources=[source(), source("gcp", cost_usd="0.09", calls=9)]))
    assert result["self_cost"] == {"usd_this_month": "0.4", "calls_this_month": 319}
    assert [row["cost_usd"] for row in result["sources"]] == ["0.31", "0.09"]


@pytest.mark.parametrize(
    ("feeding", "stale", "lower_bound"),
    [
        (source(), [], False),
        (STALE, ["aws"], False),
        (NO_ACCESS, ["aws"], False),
        (never(), ["aws"], False),
        (source(missing=["account 1"]), [], True),
        (source("gcp", poll=99 * H), [], False),
    ],
)
def test_a_figure_that_a_doubtful_source_feeds_is_marked(feeding: Any, stale: list[str], lower_bound: bool) -> None:
    (one,) = status(facts(sources=[feeding]))["budgets"]
    assert (one["stale"], one["lower_bound"]) == (stale, lower_bound)


def floats_in(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [found for part in value.values() for found in floats_in(part)]
    if isinstance(value, list):
        return [found for part in value for found in floats_in(part)]
    return [value] if isinstance(value, float) else []


# --nagios

PERFDATA = re.compile(
    r"'(?P<label>[^'=|]+)'=(?P<value>-?\d+(?:\.\d+)?|U)(?P<unit>s?)"
    r";(?P<warn>-?\d+(?:\.\d+)?)?;(?P<crit>-?\d+(?:\.\d+)?)?;(?P<min>-?\d+)?;(?P<max>\d+)?"
)


def parse(line: str) -> tuple[str, dict[str, dict[str, str | None]]]:
    """As strictly as the guidelines allow: one line, one bar, text under 80 characters, data that is all data."""
    assert "\n" not in line
    assert line.isprintable()
    assert line.count("|") == 1
    text, data = (part.strip() for part in line.split("|"))
    assert len(text) < 80
    values: dict[str, dict[str, str | None]] = {}
    position = 0
    while position < len(data):
        match = PERFDATA.match(data, position)
        assert match, data[position:]
        assert match["label"] not in values
        values[match["label"]] = match.groupdict()
        position = match.end()
        assert position == len(data) or data[position] == " "
        position += 1
    return text, values


def test_nagios_line() -> None:
    both = [
        FIRING_WARNING,
        alarm("critical"),
        alarm("critical", at="950 USD"),
        alarm("critical", at="10%", on="forecast"),
    ]
    text, values = parse(nagios(status(facts(budgets=[budget(*both)]))))
    assert text == "BUDGET WARNING - training is at 85% of 1,000.00 USD"
    assert values["training_usd"] == {
        "label": "training_usd", "value": "853.75", "unit": "", "warn": "800", "crit": "950", "min": None, "max": None,
    }  # fmt: skip
    assert (values["aws_data_age"]["value"], values["aws_data_age"]["unit"]) == ("10800", "s")
    assert (values["aws_poll_age"]["warn"], values["aws_poll_age"]["crit"]) == ("10800", "93600")
    assert values["turn_age"]["value"] == "60"
    assert values["undelivered"]["value"] == "0"


def test_what_is_not_known_is_u_for_nagios() -> None:
    _, values = parse(nagios(status(facts(budgets=[budget(spend=None)], sources=[never()], turn_at=None))))
    assert [values[label]["value"] for label in ("training_usd", "aws_data_age", "turn_age")] == ["U", "U", "U"]


def test_names_that_become_the_same_label_stay_apart() -> None:
    budgets = [budget(name=name, spend=spend) for name, spend in (("a=b", "1"), ("a'b", "2"), ("a_b", "3"))]
    _, values = parse(nagios(status(facts(budgets=budgets))))
    assert [values[label]["value"] for label in ("a_b_usd", "a_b_usd_2", "a_b_usd_3")] == ["1", "2", "3"]


def test_the_line_of_hundreds_fits_what_nrpe_carries_and_holds_the_worst() -> None:
    calm = [budget(name=f"per/{n:012}") for n in range(300)]
    hot = [budget(FIRING_CRITICAL, name="hot", spend="5000"), budget(FIRING_WARNING, name="z", spend="999")]
    budgets = [*calm[:200], *hot, *calm[200:], budget(name="per/most", spend="900")]
    sources = [*(source(f"s{n}") for n in range(40)), source("gone", poll=99 * H)]
    line = nagios(status(facts(budgets=budgets, sources=sources)))
    _, values = parse(line)
    assert 3500 < len(line.encode()) <= 4000
    kept = [label for label in values if label.endswith("_usd")]
    assert {"hot_usd", "z_usd", "per/most_usd", "gone_data_age", "gone_poll_age", "turn_age", "undelivered"} <= set(
        values
    )
    assert kept == [label for row in budgets if (label := f"{row['name']}_usd") in kept], "in the order of always"
    assert values["left_out"]["value"] == str(303 + 2 * 41 + 2 + 1 - len(values))


@pytest.mark.parametrize("count", [1, 7, 60])
def test_a_line_that_fits_leaves_nothing_out(count: int) -> None:
    _, values = parse(nagios(status(facts(budgets=[budget(name=f"b{n}") for n in range(count)]))))
    assert len(values) == count + 4


def test_the_line_fits_too_when_the_output_cannot_say_every_character() -> None:
    line = nagios(status(facts(budgets=[budget(name=f"日本語の予算{n}") for n in range(300)])))
    assert len(line.encode("ascii", "backslashreplace")) <= 4000


HOSTILE = [
    "a|b", "a=b", "it's", "x\ny", "x\r\nBcc: y", "\x1b[31mred", "\u202egnp.exe", "a'b=c|d", "$HOSTNAME$", "<script>",
    "`id`", "n" * 5000, " ", "\x00", "日本", "-", "'=1;2;3;4", "a\tb", "a\u2028b",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_inert(name: str) -> None:
    document = facts(
        budgets=[budget(FIRING_CRITICAL, name=name), budget(NO_DATA, name=name + "'", sources=[name])],
        sources=[source(name, error=name, missing=[name])],
        receivers=[receiver(name, state="DEAD", error=name)],
        health=[health("warning", name)],
    )
    result = status(document)
    text, values = parse(nagios(result))
    assert not set("|<>`$") & set(text)
    assert len(values) == 6
    screen = render(result, colour=False)
    assert all(line.isprintable() for line in screen.split("\n"))
    assert json.loads(json.dumps(result))["budgets"][0]["name"] == name


# the screen


@pytest.mark.parametrize("document", [row[1] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_screen_is_80_columns_wide(document: dict[str, Any] | None) -> None:
    assert max(len(line) for line in render(status(document), colour=False).split("\n")) <= 80


def test_the_screen_holds_for_long_names_and_amounts() -> None:
    name = "a-budget-with-a-name-that-somebody-thought-was-a-good-idea/" + "123456789012" * 3
    long = budget(FIRING_CRITICAL, name=name, amount="999999999999.99", spend="999999999999.98")
    many = [receiver(f"receiver-{number}", state="DEAD", error="e" * 200) for number in range(20)]
    screen = render(status(facts(budgets=[long, budget()], receivers=many)), colour=False)
    assert f"  OK        {'training':24}  [########--]  85%  853.75 of 1,000.00 USD" in screen
    assert max(len(line) for line in screen.split("\n")) <= 80
    assert "999,999,999,999.98 of 999,999,999,999.99 USD" in screen
    assert "and 13 more" in screen


def test_what_is_wrong_comes_first_and_what_to_do_last() -> None:
    document = facts(budgets=[budget(name="fine"), budget(FIRING_CRITICAL, spend="1030.12")], sources=[STALE])
    lines = render(status(document), colour=False).split("\n")
    assert lines[0] == "CRITICAL  training is at 103% of 1,000.00 USD"
    assert lines[1] == "          source aws is stale: not read for 27 h"
    assert lines[-1].startswith("Next: run `monitor spend")
    assert lines.index("  CRITICAL  training  [##########] 103%  1,030.12 of 1,000.00 USD") < next(
        number for number, line in enumerate(lines) if line.startswith("  OK        fine")
    )
    assert "            not up to date: no recent data from aws" in lines
    assert "            FIRING critical: actual 100% for 2 h" in lines


def test_all_fine_needs_no_advice() -> None:
    screen = render(status(facts()), colour=False)
    assert "Next:" not in screen
    assert "training  [########--]  85%  853.75 of 1,000.00 USD" in screen
    assert "billed 812.55 + accrued 41.20, data 3 h old, day 23 of 30" in screen
    assert "Watching has cost 0.31 USD this month, in 310 calls." in screen


@pytest.mark.parametrize(
    ("spend", "shown"), [("999.99", " 99%"), ("1000", "100%"), ("999.9999", " 99%"), ("-5", " -1%")]
)
def test_a_hundred_per_cent_means_reached(spend: str, shown: str) -> None:
    assert f"] {shown}  " in render(status(facts(budgets=[budget(spend=spend)])), colour=False)


def test_a_lower_bound_says_so() -> None:
    result = status(facts(budgets=[budget(FIRING_WARNING)], sources=[source(missing=["account 1"])]))
    assert result["summary"].startswith("training is at 85% or more")
    assert "at least 853.75 of 1,000.00 USD" in render(result, colour=False)


def test_colour_only_when_asked_for() -> None:
    result = status(facts(budgets=[budget(FIRING_CRITICAL)]))
    assert "\x1b[31mCRITICAL" in render(result, colour=True)
    assert re.sub(r"\x1b\[\d+m", "", render(result, colour=True)) == render(result, colour=False)


def test_the_zone_of_the_config_is_for_the_eyes_only() -> None:
    assert "23 Nov 2026 19:00 CET" in render(status(facts(timezone="Europe/Berlin")), colour=False)
    assert "23 Nov 2026 18:00 UTC" in render(status(facts(timezone="Nowhere/Atall")), colour=False)


# words


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0 s"),
        (119 * SECOND, "119 s"),
        (120 * SECOND, "2 min"),
        (119 * MINUTE, "119 min"),
        (2 * H, "2 h"),
        (95 * H, "95 h"),
        (96 * H, "4 d"),
        (-3 * H, "-3 h"),
    ],
)
def test_lasting(span: timedelta, text: str) -> None:
    assert lasting(span) == text


def test_one_line() -> None:
    assert one_line(" a\n\x1b[31mb\u202e  c\t") == "a [31mb c"


def test_a_thousand_calm_budgets_do_not_hide_the_one_that_burns() -> None:
    calm = [budget(name=f"team-{number}") for number in range(1000)]
    screen = render(status(facts(budgets=[*calm, budget(FIRING_CRITICAL, name="hot")])), colour=False)
    assert "  CRITICAL  hot " in screen
    assert "and 1000 more, none of them worse" in screen
    assert max(len(line) for line in screen.split("\n")) <= 80
    assert len(screen.split("\n")) < 40


def hundreds(severity: str) -> list[Any]:
    """All of one severity, and among them one that is far over and one whose spend is not known."""
    burning = [budget(alarm(severity, "FIRING"), name=f"per/{n:03}", spend=f"{1000 + n % 50}") for n in range(300)]
    burning[0] = budget(alarm(severity, "FIRING"), name="per/000", spend=None)
    burning[180] = budget(alarm(severity, "FIRING"), name="hot", spend="10000")
    return burning


@pytest.mark.parametrize("severity", ["warning", "critical"])
def test_among_hundreds_the_one_that_is_most_over_comes_first(severity: str) -> None:
    result = status(facts(budgets=hundreds(severity)))
    assert result["problems"][0]["text"] == "hot is at 1000% of 1,000.00 USD"
    assert "per/000" not in [problem["text"].partition(":")[0] for problem in result["problems"][:299]]
    assert nagios(result).startswith(f"BUDGET {severity.upper()} - hot is at 1000% of 1,000.00 USD; per/049 is at 104%")
    lines = render(result, colour=False).split("\n")
    assert lines[0].endswith("hot is at 1000% of 1,000.00 USD")
    assert lines[lines.index("Budgets") + 1].split()[:2] == [severity.upper(), "hot"]
    assert "and 280 more, none of them worse" in "\n".join(lines)
    assert [row["name"] for row in result["budgets"]] == [row["name"] for row in hundreds(severity)]


def test_among_many_sources_the_worst_come_first() -> None:
    many = [source(f"s{n}", data=37 * H) for n in range(30)]
    screen = render(status(facts(sources=[*many, source("gone", poll=99 * H)])), colour=False)
    assert screen.partition("Sources\n")[2].split()[:2] == ["STALE", "gone"]


OUTLOOK = {
    "forecast": "1204.1",
    "forecast_low": "950",
    "forecast_high": "1400.555",
    "forecast_days": 42,
    "forecast_needs_days": 7,
    "burn_rates": {"6h": "2.319", "24h": "2.1"},
}


def test_what_is_expected_is_shown_with_its_interval_and_the_pace() -> None:
    document = facts(budgets=[budget(alarm("warning", "FIRING", on="forecast", at="100%"), **OUTLOOK)])
    result = status(document)
    (one,) = json.loads(json.dumps(result))["budgets"]
    assert {key: one[key] for key in OUTLOOK} == OUTLOOK
    assert result["summary"] == "training: 1,204.10 of 1,000.00 USD expected by 1 Dec 2026"
    text = render(result, colour=False)
    assert "expected by 1 Dec 2026: 1,204.10 (950.00 to 1,400.56)" in text
    assert "burn rate 2.31 over 6h, 2.10 over 24h" in text


def test_a_forecast_that_needs_more_days_says_how_many_there_are() -> None:
    blind = alarm("warning", on="forecast", at="100%", data="NO_DATA")
    few = {**OUTLOOK, "forecast": None, "forecast_low": None, "forecast_high": None, "forecast_days": 3}
    result = status(facts(budgets=[budget(alarm(), blind, **few)]))
    assert (result["state"], result["summary"]) == (
        "UNKNOWN", "training: not enough data for a forecast: 3 of 7 complete days",
    )  # fmt: skip
    assert "backfill" in result["problems"][0]["do"]
    assert "not enough data for a forecast: 3 of 7 complete days" in render(result, colour=False)


def test_without_a_threshold_on_it_a_missing_forecast_is_no_problem() -> None:
    few = {**OUTLOOK, "forecast": None, "forecast_low": None, "forecast_high": None, "forecast_days": 3}
    result = status(facts(budgets=[budget(**few)]))
    assert result["state"] == "OK"
    assert "not enough data" not in render(result, colour=False)


def test_an_alarm_that_is_calm_but_not_over_says_since_when() -> None:
    calm = alarm("critical", "FIRING", on="burn_rate", at="2.0", calm_since=ago(3 * H))
    text = render(status(facts(budgets=[budget(calm, **OUTLOOK)])), colour=False)
    assert "FIRING critical: burn_rate 2.0 for 2 h, clearly below for 3 h" in text


def test_a_period_that_has_not_begun_says_when_it_does() -> None:
    period = {"start": "2026-12-01T00:00:00Z", "end": "2026-12-15T00:00:00Z"}
    text = render(status(facts(budgets=[budget(period=period, spend="0", billed="0")])), colour=False)
    assert "begins on 1 Dec 2026" in text


def quiet(name: str = "training", *, until: timedelta | None = 4 * H, why: str = "") -> Any:
    kind = "ack" if until is None else "silence"
    end = None if until is None else to_text(NOW + until)
    return {"budget": name, "kind": kind, "since": ago(H), "until": end, "by": "alice (root)", "why": why}


@pytest.mark.parametrize("silence", [quiet(), quiet(until=None), quiet(until=-H), quiet("other")])
@pytest.mark.parametrize(("_", "document", "state"), TABLE)
def test_silence_and_ack_change_no_state_and_no_code(
    _: str, document: dict[str, Any] | None, state: str, silence: Any
) -> None:
    silenced = document and {**document, "silences": [silence]}
    before, after = status(document), status(silenced)
    assert (after["state"], after["exit_code"]) == (before["state"], before["exit_code"])
    assert len(after["problems"]) == len(before["problems"])


@pytest.mark.parametrize(
    ("silences", "text"),
    [
        ([quiet()], "BUDGET CRITICAL - training is at 85% of 1,000.00 USD (silenced until 23 Nov ..."),
        ([quiet(until=72 * H)], "BUDGET CRITICAL - training is at 85% of 1,000.00 USD (silenced until 26 Nov ..."),
        (
            [quiet(), quiet(until=8 * H)],
            "BUDGET CRITICAL - training is at 85% of 1,000.00 USD (silenced until 24 Nov ...",
        ),
        ([quiet(until=None)], "BUDGET CRITICAL - training is at 85% of 1,000.00 USD (acknowledged)"),
        ([quiet(until=-SECOND)], "BUDGET CRITICAL - training is at 85% of 1,000.00 USD"),
        ([quiet("train")], "BUDGET CRITICAL - training is at 85% of 1,000.00 USD"),
    ],
)
def test_nagios_says_that_nobody_is_paged(silences: list[Any], text: str) -> None:
    document = facts(budgets=[budget(FIRING_CRITICAL)], silences=silences)
    assert nagios(status(document)).startswith(f"{text} | ")


def test_the_table_shows_who_wants_quiet_until_when_and_why() -> None:
    document = facts(budgets=[budget(FIRING_WARNING)], silences=[quiet(why="load test"), quiet("other", until=None)])
    text = render(status(document), colour=False)
    assert "Not told for now\n" in text
    assert "  SILENCE   training  until 23 Nov 2026 22:00 UTC\n" in text
    assert "            since 23 Nov 2026 17:00 UTC, by alice (root)\n            why: load test\n" in text
    assert "  ACK       other     until the level changes\n" in text


def test_json_lists_silences_and_those_of_one_budget() -> None:
    one, base, other = quiet("a/1"), quiet("a"), quiet("b", until=None)
    over = quiet("a", until=-H)
    document = facts(budgets=[budget(name="a/1"), budget(name="b")], silences=[one, base, other, over])
    assert status(document)["silences"] == [one, base, other]
    assert status(document, budget="a/1")["silences"] == [one, base]
    assert status(document, budget="b")["silences"] == [other]
    assert [row["quiet"] for row in status(document)["budgets"]] == [
        "silenced until 23 Nov 2026 22:00 UTC",
        "acknowledged",
    ]


# what has not begun, and what lies ahead


LATER = {"period": {"start": "2026-12-01T00:00:00Z", "end": None}, "spend": "0", "billed": "0", "accrued": "0"}


@pytest.mark.parametrize("read", [True, False])
def test_a_period_that_begins_later_shows_no_figure_that_nobody_measured(read: bool) -> None:
    later = budget(name="deepseek", **LATER, data_as_of=ago(3 * H) if read else None, lower_bound=not read)
    sources = [source()] if read else [source(data=None, poll=None, first_attempt=ago(H), error="503")]
    result = status(facts(budgets=[{**later, "unseen": ['no charge of run "x" was ever seen']}], sources=sources))
    screen = render(result, colour=False)
    assert "  OK        deepseek  begins on 1 Dec 2026\n" in screen
    for word in ("0%", "at least", "[----------]", "of 1,000.00", "no data,", "was ever seen"):
        assert word not in screen
    assert "'deepseek_usd'=U;" in nagios(result)
    if read:
        assert result["summary"] == "1 budget within limits; deepseek begins on 1 Dec 2026"
    two = status(facts(budgets=[later, budget(spend="0")]))
    assert two["summary"] == "2 budgets within limits; training is at 0% of 1,000.00 USD"


def test_ages_of_what_lies_ahead_are_not_called_zero() -> None:
    document = facts(
        budgets=[budget(alarm("warning", "FIRING", since=ago(H)))],
        receivers=[receiver(owed=1, oldest=H)],
        turn_at=ago(H),
        sources=[source(), source("empty", empty=True, poll=None, data=None, first_attempt=ago(H))],
    )
    early = NOW - timedelta(days=29)
    result = judge(document, early, running=True)
    screen = " ".join(render(result, colour=False).split())
    assert "last turn 28 d in the future. As of 25 Oct 2026" in screen
    assert "read 28 d in the future, data from 28 d in the future" in screen
    assert "FIRING warning: actual 80% from 28 d in the future on" in screen
    assert "last message 28 d in the future; 1 not delivered, the oldest from 28 d in the future on" in screen
    assert "begins on 1 Nov 2026" in screen
    assert "85%" in screen
    assert "0 s" not in screen
    assert "source empty is late: it answers, but has no data yet" in [one["text"] for one in result["problems"]]
    assert "-" not in "".join(one["text"] for one in result["problems"])
    _, values = parse(nagios(result))
    assert [values[label]["value"] for label in ("turn_age", "aws_data_age", "aws_poll_age")] == ["U", "U", "U"]


def test_what_was_a_moment_ago_is_so_whatever_the_clock_says() -> None:
    part = NOW + timedelta(milliseconds=900)
    assert (words.ago(part, NOW), words.old(part, NOW), words.since(part, NOW)) == (
        "0 s ago",
        "data 0 s old",
        "for 0 s",
    )
    later = NOW + SECOND
    assert (words.ago(later, NOW), words.old(later, NOW)) == ("1 s in the future", "data from 1 s in the future")


def test_a_name_that_was_never_seen_beside_spend_only_informs() -> None:
    result = status(facts(budgets=[budget(unseen=['no charge of service "AmazonEC3" was ever seen'])]))
    assert (result["state"], result["problems"]) == ("OK", [])
    assert '            no charge of service "AmazonEC3" was ever seen\n' in render(result, colour=False)
