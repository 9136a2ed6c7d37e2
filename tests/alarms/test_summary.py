"""The digest in words, and what each receiver makes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from alarms.dispatch import Dispatcher
from alarms.errors import PermanentError, TemporaryError
from alarms.model import Kind, Notification, Reason, Receipt, Severity
from alarms.notifiers.slack import payload
from alarms.notifiers.sns import LARGEST, publication
from alarms.render import SUBJECT_LENGTH, render
from alarms.summary import Fired, Standing, Summary, message
from monitor.clock import FixedClock
from monitor.store.database import open_store
from monitor.store.outbox import StoredOutbox
from tests.fakes.messages import FACTS, MESSAGE
from tests.fakes.notifiers import Accepting, Refusing

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
TRAINING = Standing("training", "USD", Decimal(1000), Decimal("812.55"), Decimal("1204.1"), False, True)
LAB = Standing("lab", "EUR", Decimal(500), Decimal(20), None, True, False)
BLIND = Standing("blind", "USD", Decimal(10), None, None, False, False)
SUMMARY = Summary(
    at=NOW,
    since=NOW - timedelta(days=1),
    standings=(BLIND, LAB, TRAINING),
    fired=(Fired("training", "actual", "80%", Severity.WARNING, NOW - timedelta(hours=19), True),),
    doubts=("aws is LATE, its newest data is 37 h old",),
    undelivered=("mail is DEAD: the login was refused",),
    silences=("lab is silenced until 25 Nov 2026 09:00 CET by alice (root): load test",),
)


def written(summary: Summary = SUMMARY) -> Notification:
    return message(summary, "mail", NOW, BERLIN)


def many(count: int, name: str = "budget-{}") -> Summary:
    standings = tuple(replace(TRAINING, name=name.format(n), spend=Decimal(n)) for n in range(count))
    return replace(SUMMARY, standings=standings, fired=())


def test_word_for_word() -> None:
    assert render(written(), now=NOW, timezone=BERLIN).text == (
        "DIGEST: 1 of 3 budgets over a limit, not all is up to date, 24 Nov 2026\n"
        "\n"
        "Budgets:\n"
        "  training: 812.55 of 1,000.00 USD, 81%, forecast 1,204.10\n"
        "  lab: at least 20.00 of 500.00 EUR, 4%\n"
        "  blind: not known, of 10.00 USD\n"
        "\n"
        "Fired since 23 Nov 2026 09:00 CET:\n"
        "  training: actual 80% (warning), 23 Nov 2026 14:00 CET, still firing\n"
        "\n"
        "Not up to date:\n"
        "  aws is LATE, its newest data is 37 h old\n"
        "\n"
        "Not delivered:\n"
        "  mail is DEAD: the login was refused\n"
        "\n"
        "Not told for now:\n"
        "  lab is silenced until 25 Nov 2026 09:00 CET by alice (root): load test\n"
        "\n"
        "See:\n"
        "  monitor status\n"
        "\n"
        f"Id: {written().id}\n"
    )


def test_when_all_is_well_it_is_short() -> None:
    summary = replace(SUMMARY, standings=(LAB,), fired=(), doubts=(), undelivered=(), silences=())
    rendered = render(written(summary), now=NOW)
    assert rendered.subject == "DIGEST: 1 budget within limits, 24 Nov 2026"
    assert [section.heading for section in rendered.sections] == ["Budgets", "Fired since 23 Nov 2026 09:00 CET"]
    assert rendered.sections[1].lines == ("nothing",)
    assert render(written(replace(summary, standings=())), now=NOW).subject == "DIGEST: no budget, 24 Nov 2026"


def test_of_many_budgets_the_twenty_most_used_and_how_many_more() -> None:
    (heading, lines), *_ = written(many(1000)).facts.sections
    assert heading == "Budgets"
    assert lines[0].startswith("budget-999: 999.00 of")
    assert lines[20:] == ("and 980 more: monitor status",)


def test_one_id_for_a_slot_and_one_thread_for_a_receiver() -> None:
    later = message(SUMMARY, "mail", NOW + timedelta(days=1), BERLIN)
    assert written().id == written(many(3)).id
    assert written().id != later.id
    assert written().id.split("/")[0] == later.id.split("/")[0]
    assert message(SUMMARY, "oncall", NOW, BERLIN).id != written().id


@given(st.text(max_size=80), st.integers(0, 60))
def test_every_receiver_takes_it_whatever_budgets_are_called(name: str, count: int) -> None:
    notification = written(many(count, name.replace("{", "").replace("}", "") + "{}"))
    rendered = render(notification, now=NOW)
    assert rendered.subject.isascii()
    assert len(rendered.subject) <= SUBJECT_LENGTH
    blocks = payload(rendered, notification.facts)["blocks"]
    assert len(blocks) <= 50
    for block in blocks:
        for text in (block.get("text") or {}, *block.get("fields", ())):
            assert len(text.get("text", "")) <= 3000
            assert not set(text.get("text", "")) & set("<>")
    published = publication(notification, rendered, "arn:aws:sns:us-east-1:123456789012:t")
    assert len(published["Message"].encode()) < LARGEST


def test_slack_keeps_the_lines_and_marks_it_as_no_alarm() -> None:
    blocks = payload(render(written(), now=NOW), written().facts)["blocks"]
    assert blocks[0]["text"]["text"].startswith("\N{BAR CHART} DIGEST: ")
    assert blocks[1]["text"]["text"].splitlines()[:2] == [
        "Budgets:",
        "  training: 812.55 of 1,000.00 USD, 81%, forecast 1,204.10",
    ]
    long = payload(render(written(many(60, "&" * 40 + "{}")), now=NOW), written().facts)["blocks"]
    shown = long[1]["text"]["text"].splitlines()
    assert len(shown) > 5, "as many as there is room for, each on its line"


def test_sns_does_not_call_it_a_warning() -> None:
    attributes = publication(written(), render(written(), now=NOW), "arn:aws:sns:us-east-1:123456789012:t")
    assert "severity" not in attributes["MessageAttributes"]
    assert attributes["MessageAttributes"]["kind"]["StringValue"] == "SUMMARY"


def test_a_digest_that_is_refused_or_not_taken_goes_to_nobody_else(tmp_path: Path) -> None:
    clock = FixedClock(NOW)
    for number, error in enumerate((PermanentError("gone"), TemporaryError("503"))):
        with open_store(tmp_path / str(number)) as store:
            outbox, other = StoredOutbox(store), Accepting()
            outbox.add([written()])
            dispatcher = Dispatcher(outbox, {"mail": Refusing(error), "oncall": other}, clock.now)
            dispatcher.run_until_idle(timedelta(seconds=20))
            clock.instant += timedelta(minutes=2)
            dispatcher.run_until_idle(timedelta(seconds=20))
            assert other.taken == []


def test_in_a_flood_it_stays_by_itself_and_comes_last(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        outbox, mail = StoredOutbox(store), Accepting()
        alarms = [
            replace(MESSAGE, id=f"e{n}/l/1", receiver="mail", facts=replace(FACTS, budget=f"b{n}"), created_at=NOW)
            for n in range(20)
        ]
        outbox.add([written(), *alarms])
        Dispatcher(outbox, {"mail": mail}, lambda: NOW).run_until_idle(timedelta(seconds=20))
        assert [one.facts.kind for one in mail.taken] == [Kind.FIRING, Kind.SUMMARY]
        assert len(mail.taken[0].facts.held) == 20


def test_one_that_was_not_taken_gives_way_to_the_next(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        outbox = StoredOutbox(store)
        next_day = message(replace(SUMMARY, at=NOW + timedelta(days=1)), "mail", NOW + timedelta(days=1), BERLIN)
        outbox.add([written()])
        outbox.add([next_day])
        assert [delivery.notification for delivery in outbox.owed("mail")] == [next_day]


def test_the_reason_that_a_silence_is_over_reaches_its_receiver(tmp_path: Path) -> None:
    over = replace(FACTS, kind=Kind.REPEAT, reason=Reason.SILENCE_OVER, silenced_until=NOW, detail="silenced by root")
    again = replace(FACTS, kind=Kind.REPEAT, reason=Reason.STILL_OVER)
    with open_store(tmp_path) as store:
        outbox = StoredOutbox(store)
        outbox.add([MESSAGE])
        outbox.sent(outbox.owed("oncall")[0], Receipt(), NOW)
        stay = MESSAGE.id.rpartition("/")[0]
        outbox.add([replace(MESSAGE, id=f"{stay}/2", facts=over)])
        (delivery,) = outbox.owed("oncall")
        assert delivery.notification.facts == over
        # Not sent yet, it becomes one message with the repeat that follows, and still says why it comes.
        outbox.add([replace(MESSAGE, id=f"{stay}/3", facts=again)])
        (delivery,) = outbox.owed("oncall")
        facts = delivery.notification.facts
        assert (facts.reason, facts.silenced_until, facts.detail) == (Reason.SILENCE_OVER, NOW, "silenced by root")


def test_what_was_planned_stands_beside_what_was_spent() -> None:
    run = replace(TRAINING, forecast=None, planned=Decimal(700), at_completion=Decimal("1112.5"))
    (line,) = written(replace(SUMMARY, standings=(run,))).facts.sections[0][1]
    assert line == "training: 812.55 of 1,000.00 USD, 81%, planned 700.00, at completion 1,112.50"
