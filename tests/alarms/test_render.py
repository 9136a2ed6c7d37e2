from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alarms.model import Facts, Kind, Notification, Period, Reason, Severity
from alarms.render import SUBJECT_LENGTH, Rendered, render
from alarms.words import clean
from tests.fakes.messages import FACTS, MONTH, NOW, OWN


def rendered(facts: Facts = FACTS, *, now: datetime = NOW, timezone: Any = UTC, **more: Any) -> Rendered:
    message = Notification("4f2a9c01d7be/actual-100pct-critical/1", "oncall", NOW, facts, **more)
    return render(message, now=now, timezone=timezone)


def lines(facts: Facts = FACTS, **more: Any) -> dict[str, str]:
    return {line.label: line.value for line in rendered(facts, **more).lines}


def test_a_crossing_word_for_word() -> None:
    message = rendered()
    assert message.subject == "CRITICAL training: 1,004.20 of 1,000.00 USD spent, over 100%"
    assert message.short == message.subject
    assert message.text == (
        "CRITICAL training: 1,004.20 of 1,000.00 USD spent, over 100%\n"
        "\n"
        "Spent: 1,004.20 USD (100.4%) = 962.80 billed + 41.40 accrued (used, not billed yet)\n"
        "Limit: 100% of the budget = 1,000.00 USD, actual, critical, over by 4.20 USD\n"
        "Data: up to 23 Nov 2026 14:00 UTC, 4 h old\n"
        "Change: this is the first message about this limit\n"
        "Why: spend has crossed the limit\n"
        "Budget: training, 1,000.00 USD for November 2026 (UTC), 7 d 6 h left\n"
        "\n"
        "See:\n"
        "  monitor status --budget training\n"
        "  monitor spend --by service\n"
        "\n"
        "Id: 4f2a9c01d7be/actual-100pct-critical/1\n"
    )


@pytest.mark.parametrize(
    "word", ["=?utf-8?q?=0ABcc:_evil@example.com?=", "=?x?b?Cg==?=", "=\N{CJK UNIFIED IDEOGRAPH-4E2D}x?q?=0A?="]
)
def test_a_subject_holds_no_encoded_word(word: str) -> None:
    message = rendered(replace(OWN, title=f"Source {word} fails"))
    assert "=?" not in message.subject
    assert rendered(replace(FACTS, budget=word * 4)).subject.count("=?") == 0


def test_own_alarm_word_for_word() -> None:
    assert rendered(OWN).text == (
        "WARNING: Source aws has given no data for 26 h\n"
        "\n"
        "What: AWS refused the key: allow cloudwatch:GetMetricData to these credentials\n"
        "Severity: warning\n"
        "Why: the monitor itself has a problem\n"
        "\n"
        "See:\n"
        "  monitor status\n"
        "\n"
        "Id: 4f2a9c01d7be/actual-100pct-critical/1\n"
    )


def test_test_message_asks_for_nothing() -> None:
    message = rendered(
        replace(OWN, kind=Kind.TEST, reason=Reason.TEST, title="This is a test", detail="Nothing is wrong.")
    )
    assert message.subject == "TEST: This is a test"
    assert message.see == ()
    assert [line.label for line in message.lines] == ["What"]


@pytest.mark.parametrize(
    ("reason", "ending"),
    [
        (Reason.RESTATED_BELOW, "spent, back under 100%"),
        (Reason.LIMIT_RAISED, "spent, back under 100%, which was raised"),
        (Reason.PERIOD_ENDED, "spent, the period ended over 100%"),
    ],
)
def test_resolved_says_how(reason: Reason, ending: str) -> None:
    message = rendered(replace(FACTS, kind=Kind.RESOLVED, reason=reason))
    assert message.subject.startswith("RESOLVED training: 1,004.20 of 1,000.00 USD ")
    assert message.subject.endswith(ending)
    assert message.see == ("monitor status --budget training",)


def test_resolved_because_it_is_no_longer_configured() -> None:
    facts = Facts(
        kind=Kind.RESOLVED,
        severity=Severity.CRITICAL,
        reason=Reason.BUDGET_REMOVED,
        title="training",
        budget="training",
        on="actual",
        at="100%",
        first_detected=NOW - timedelta(days=3),
    )
    message = rendered(facts)
    assert message.subject == "RESOLVED training: 100% is no longer watched"
    assert lines(facts) == {
        "Limit": "100% of the budget, actual, critical",
        "Why": "the budget or this threshold is no longer in the config",
        "Budget": "training",
        "First detected at": "20 Nov 2026 18:00 UTC, 3 d ago",
    }


def test_repeat_says_what_changed() -> None:
    facts = replace(
        FACTS,
        kind=Kind.REPEAT,
        reason=Reason.STILL_OVER,
        previous_spend=Decimal(1000),
        previous_told=NOW - timedelta(hours=4),
    )
    assert rendered(facts).subject.startswith("STILL CRITICAL training: ")
    assert lines(facts)["Change"] == "+4.20 USD since the last message, 23 Nov 2026 14:00 UTC"
    for spend, change in (("1004.2", "none since"), ("1004.2001", "-0.0001 USD since"), ("2000", "-995.80 USD since")):
        assert lines(replace(facts, previous_spend=Decimal(spend)))["Change"].startswith(change)
    assert lines(replace(facts, previous_spend=None))["Change"].startswith("not known since")


def test_a_breach_never_looks_like_none() -> None:
    facts = replace(FACTS, spend=Decimal("1000.0001"), billed=Decimal("1000.0001"), accrued=Decimal(0))
    assert rendered(facts).subject == "CRITICAL training: 1,000.0001 of 1,000.0000 USD spent, over 100%"
    assert lines(facts)["Limit"].endswith("over by 0.0001 USD")
    assert lines(facts)["Spent"].startswith("1,000.0001 USD (100.0%) = 1,000.0001 billed + 0.00 accrued")
    # Over 80% and a hair's breadth under the budget: neither of the two may look reached.
    near = replace(FACTS, at="80%", limit=Decimal(800), spend=Decimal("999.9999"))
    assert "999.9999 of 1,000.0000 USD" in rendered(near).subject
    assert "(99.9%)" in lines(near)["Spent"]
    assert lines(replace(FACTS, spend=Decimal(1000)))["Limit"].endswith("reached exactly")


def test_limit_as_an_amount() -> None:
    facts = replace(FACTS, at="800 USD", limit=Decimal(800))
    assert rendered(facts).subject.endswith("spent, over 800 USD")
    assert lines(facts)["Limit"] == "800 USD of actual spend, critical, over by 204.20 USD"


def test_what_is_not_known_is_not_zero() -> None:
    nothing = replace(FACTS, spend=None, billed=None, accrued=None, as_of=None)
    assert rendered(nothing).subject == "CRITICAL training: spend not known, budget 1,000.00 USD, over 100%"
    assert lines(nothing)["Spent"] == "not known: its data is missing or too old"
    assert lines(nothing)["Data"] == "no charge seen yet in this period"
    assert "not billed yet comes on top" in lines(replace(FACTS, accrued=None))["Spent"]
    assert "%" not in lines(replace(FACTS, amount=Decimal(0)))["Spent"]


def test_lower_bound_and_stale_sources_are_said() -> None:
    facts = replace(FACTS, lower_bound=True, stale=("gcp", "azure"))
    assert "at least 1,004.20 of 1,000.00 USD" in rendered(facts).subject
    assert lines(facts)["Spent"].startswith("at least 1,004.20 USD")
    assert lines(facts)["Stale"].startswith("gcp, azure: too old to trust")
    assert "at least" not in rendered().text


def test_marks_of_this_copy() -> None:
    message = rendered(possible_repeat=True, instead_of="mail")
    assert message.subject.endswith(" (possible repeat)")
    assert message.notes == ("(possible repeat)", "mail did not accept this; sent here instead.")
    assert all(note in message.short and note in message.text for note in message.notes)


def test_first_sight_names_the_lower_levels() -> None:
    facts = replace(FACTS, reason=Reason.ALREADY_OVER, also_over=("80%", "50%"))
    assert lines(facts)["Also over"] == "80%, 50%"
    assert lines(facts)["Why"] == "it was already over when the monitor first looked"


@pytest.mark.parametrize(("minutes", "said"), [(0, False), (10, False), (11, True), (3000, True)])
def test_late_messages_say_when_it_was_first_detected(minutes: int, *, said: bool) -> None:
    facts = replace(FACTS, first_detected=NOW - timedelta(minutes=minutes))
    assert ("First detected at" in lines(facts)) is said
    # The same message, held back by a receiver that was down.
    late = lines(FACTS, now=NOW + timedelta(minutes=minutes))
    assert ("First detected at" in late) is said
    assert (
        "First detected at" in lines(replace(OWN, first_detected=NOW), now=NOW + timedelta(minutes=minutes))
    ) is said


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=4), "4 h"),
        (timedelta(hours=4, minutes=7), "4 h 7 min"),
        (timedelta(hours=24), "1 d"),
        (timedelta(hours=51, minutes=59), "2 d 3 h"),
        (timedelta(hours=-1), "less than a minute"),
    ],
)
def test_age_of_the_data(age: timedelta, text: str) -> None:
    assert lines(replace(FACTS, as_of=NOW - age))["Data"].endswith(f", {text} old")


def test_times_are_the_readers_and_periods_utc() -> None:
    assert lines(timezone=ZoneInfo("Europe/Berlin"))["Data"].startswith("up to 23 Nov 2026 15:00 CET")
    assert "for November 2026 (UTC), " in lines(timezone=ZoneInfo("Europe/Berlin"))["Budget"]
    day = Period(datetime(2026, 11, 30, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert "for 30 Nov 2026 (UTC), " in lines(replace(FACTS, period=day))["Budget"]
    run = Period(NOW - timedelta(hours=2), NOW + timedelta(hours=3))
    expected = "for 23 Nov 2026 16:00 UTC to 23 Nov 2026 21:00 UTC, 3 h left"
    assert expected in lines(replace(FACTS, period=run))["Budget"]
    assert lines(now=MONTH.end)["Budget"].endswith("November 2026 (UTC), over")


def test_yen_have_no_decimals() -> None:
    facts = replace(
        FACTS, currency="JPY", limit=Decimal(1000), spend=Decimal(1500), billed=Decimal(1500), accrued=Decimal(0)
    )
    assert rendered(facts).subject == "CRITICAL training: 1,500 of 1,000 JPY spent, over 100%"


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("base", [FACTS, OWN])
def test_every_kind_and_reason_has_words(kind: Kind, reason: Reason, base: Facts) -> None:
    message = rendered(replace(base, kind=kind, reason=reason))
    assert message.text.endswith("Id: 4f2a9c01d7be/actual-100pct-critical/1\n")


def test_subject_keeps_the_figures_and_cuts_the_name() -> None:
    facts = replace(FACTS, budget="a-very-long-budget-name-" * 5, lower_bound=True)
    subject = rendered(facts, possible_repeat=True).subject
    assert len(subject) <= SUBJECT_LENGTH
    assert subject.startswith("CRITICAL a-very-lo")
    assert subject.endswith("at least 1,004.20 of 1,000.00 USD spent, over 100% (possible repeat)")
    assert rendered(replace(FACTS, budget="Entraînement Łódź 模型")).subject.startswith(
        "CRITICAL Entrainement ?odz ??: "
    )


def test_commands_survive_a_shell() -> None:
    assert rendered(replace(FACTS, budget="a'; rm -rf /")).see[0] == "monitor status --budget 'a'\"'\"'; rm -rf /'"


HOSTILE = "a\r\nBcc: x\x00\x1b[31m\u202e\u2066\u200b\u2028\u0085\ufeff\U000e0001" + "x" * 5000


@given(st.text(max_size=400), st.booleans(), st.sampled_from(list(Kind)), st.booleans())
@example(HOSTILE, True, Kind.FIRING, True)
@example("ﷺ" * 64, True, Kind.REPEAT, True)
def test_foreign_text_cannot_break_out(text: str, repeat: bool, kind: Kind, budget: bool) -> None:
    foreign = {"title": text, "detail": text, "stale": (text,), "on": text, "at": text, "also_over": (text,)}
    facts = replace(FACTS if budget else OWN, kind=kind, **foreign)
    message = rendered(replace(facts, budget=text) if budget else facts, possible_repeat=repeat, instead_of=text)
    assert 0 < len(message.subject) <= SUBJECT_LENGTH
    assert message.subject.isascii()
    assert message.subject.isprintable()
    assert message.subject.endswith("(possible repeat)") is repeat
    shown = [message.headline, *message.notes, *(line.value for line in message.lines), *message.see, message.id]
    for piece in shown:
        assert all(unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp", "Cs") for character in piece)
        assert len(piece) <= 1500


@given(st.text(max_size=200), st.integers(min_value=4, max_value=60))
def test_clean_is_one_short_line_and_stays_so(text: str, length: int) -> None:
    once = clean(text, length)
    assert len(once) <= length
    assert once == clean(once, length)
