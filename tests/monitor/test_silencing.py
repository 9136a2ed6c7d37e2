"""Silences and digests on a real store, through whole turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from alarms.errors import TemporaryError
from alarms.model import DeliveryState, Kind, Notification, Period, Reason, Receipt
from alarms.silence import Silence, SilenceKind
from alarms.slots import Schedule, parse_schedule
from monitor import orders
from monitor.appointments import Appointments
from monitor.clock import to_text
from monitor.config.model import Config, MonitorSection
from monitor.cycle import Cycle, TurnReport
from monitor.errors import ExitCode, UserError
from monitor.model import Batch, Window
from monitor.orders import Order
from monitor.store import alarm_states, silences
from monitor.store.database import open_store
from monitor.store.outbox import StoredOutbox
from tests.fakes.outbox import states_of
from tests.monitor.test_cycle import HOUR, MONTH, FakeSource, SourceSettings, World, budget

START = datetime(2026, 11, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class ReceiverSettings:
    name: str
    type: str = "fake"
    min_severity: None = None
    digest: Schedule | None = None


@dataclass
class Desk(World):
    """A world in which people give orders and receivers want digests."""

    digests: tuple[tuple[str, str], ...] = ()
    timezone: str = "UTC"

    @property
    def config(self) -> Config:
        return Config(
            path=Path("config.toml"),
            monitor=MonitorSection(Path("state"), timedelta(minutes=5), self.timezone, ("oncall",)),
            sources=tuple(SourceSettings(source.name) for source in self.sources),
            receivers=(
                *(
                    ReceiverSettings(name, digest=parse_schedule(text))
                    for name, text in self.digests
                    if name != "oncall"
                ),
                ReceiverSettings("oncall", digest=_schedule(dict(self.digests).get("oncall"))),
            ),
            budgets=tuple(self.budgets),
        )

    def cycle(self) -> Cycle:
        return Cycle(self.config, self.sources, self.store, StoredOutbox(self.store))

    def turn(self, *, after: timedelta = HOUR, everything: bool = False) -> TurnReport:
        """A turn and what comes due with it, as `App` does both."""
        report = super().turn(after=after, everything=everything)
        self.keep(after=timedelta(0))
        return report

    def tell(self, command: str, name: str = "training", **arguments: Any) -> str:
        order = Order(command, {"budget": name, **arguments}, "root", self.now)
        return orders.obey(self.store, self.config, order)

    def keep(self, *, after: timedelta = MINUTE) -> bool:
        self.now += after
        return Appointments(self.config, self.store, StoredOutbox(self.store)).keep(self.now, []) is not None

    def stored(self) -> list[Silence]:
        with self.store.read() as connection:
            return silences.load(connection)

    def owed(self, receiver: str = "oncall") -> list[Notification]:
        """Like `messages`, whole."""
        outbox, found = StoredOutbox(self.store), []
        for delivery in outbox.owed(receiver):
            found.append(delivery.notification)
            outbox.sent(delivery, Receipt(), self.now)
        return found


def _schedule(text: str | None) -> Any:
    return None if text is None else parse_schedule(text)


@dataclass(eq=False)
class AccountsSource(FakeSource):
    """The month to date as that of account a."""

    def fetch(self, window: Window) -> Batch:
        batch = super().fetch(window)
        (charge,) = batch.charges
        series = replace(charge.series, account="a")
        return replace(batch, charges=(replace(charge, series=series),), replaces={series: MONTH})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_store(tmp_path / "state") as store:
        yield Desk(store, [FakeSource("aws", "10")])


def spend(desk: Desk, value: str) -> None:
    desk.sources[0].month_to_date = value


def test_a_silence_comes_back_as_it_was_and_the_last_word_counts(desk: Desk) -> None:
    desk.turn()
    began = desk.now
    said = desk.tell("silence", for_s=3600, why="a\u202eb")
    assert said == "training is silenced until 10 Nov 2026 02:00 UTC; status still tells"
    assert desk.stored() == [Silence("training", SilenceKind.SILENCE, began, began + HOUR, "root", "ab")]
    assert desk.facts()["silences"] == [
        {
            "budget": "training",
            "kind": "silence",
            "since": to_text(began),
            "until": to_text(began + HOUR),
            "by": "root",
            "why": "ab",
        }
    ]
    said = desk.tell("silence", for_s=60)
    assert said.startswith("training is silenced until 10 Nov 2026 01:01 UTC (before: 10 Nov 2026 02:00 UTC)")
    assert len(desk.stored()) == 1


def test_no_message_in_a_silence_and_one_at_its_end_even_between_turns(desk: Desk) -> None:
    desk.turn()
    desk.tell("silence", for_s=2 * 3600)
    spend(desk, "1100")
    desk.turn()
    assert desk.messages() == []
    assert [alarm["state"] for alarm in desk.facts()["budgets"][0]["alarms"]] == ["FIRING", "FIRING"]
    assert not desk.keep(after=59 * MINUTE)
    assert desk.keep()
    assert desk.messages() == [(Kind.FIRING, "100%", Reason.SILENCE_OVER)]
    assert desk.stored() == []
    assert desk.facts()["silences"] == []
    assert not desk.keep()


def test_what_waits_for_another_attempt_is_held_back_and_told_at_the_end(desk: Desk) -> None:
    desk.turn()
    spend(desk, "1100")
    desk.turn()
    outbox = StoredOutbox(desk.store)
    # One of the two is being sent, and comes back as not delivered.
    under_way = outbox.begin(outbox.owed("oncall")[0], desk.now)
    assert under_way is not None
    desk.tell("silence", for_s=3600)
    outbox.later(under_way, desk.now, "503", uncertain=False)
    desk.turn(after=MINUTE)
    assert desk.messages() == []
    assert outbox.unheard(desk.now + HOUR) == [], "nobody is to get it by another way either"
    desk.turn(after=HOUR)
    (message,) = desk.owed()
    facts = message.facts
    assert (facts.kind, facts.at, facts.reason) == (Kind.FIRING, "100%", Reason.SILENCE_OVER)
    spend(desk, "10")
    desk.turn()
    assert [kind for kind, _, _ in desk.messages()] == [Kind.RESOLVED]


def test_nobody_who_was_not_told_hears_that_it_is_over(desk: Desk) -> None:
    desk.turn()
    spend(desk, "1100")
    desk.turn()
    desk.tell("silence", for_s=30 * 24 * 3600)
    spend(desk, "10")
    desk.turn()
    assert desk.messages() == []


def test_what_was_sent_stays_sent(desk: Desk) -> None:
    desk.turn()
    spend(desk, "850")
    desk.turn()
    (message,) = desk.owed()
    desk.tell("silence", for_s=3600)
    ((_, _, state),) = states_of(StoredOutbox(desk.store), [message.id])
    assert state is DeliveryState.SENT
    spend(desk, "10")
    desk.turn()
    assert desk.messages() == [(Kind.RESOLVED, "80%", Reason.RESTATED_BELOW)]


def test_an_ack_is_of_the_level_that_fires_and_is_stored_with_its_episode(desk: Desk) -> None:
    desk.turn()
    spend(desk, "1100")
    desk.turn()
    desk.messages()
    assert "training, actual 100% (critical)" in desk.tell("ack")
    with desk.store.read() as connection:
        (critical,) = [alarm for key, alarm in alarm_states.load_open(connection).items() if key.at == "100%"]
    (ack,) = desk.stored()
    assert (ack.kind, ack.episode, ack.until) == (SilenceKind.ACK, critical.episode, None)
    desk.turn(after=100 * HOUR)
    assert desk.messages() == []
    spend(desk, "850")
    desk.turn()
    assert (Kind.RESOLVED, "100%", Reason.RESTATED_BELOW) in desk.messages()
    assert desk.stored() == []


def test_a_repeat_that_waits_is_taken_back_by_an_ack_and_a_first_message_is_not(desk: Desk) -> None:
    desk.turn()
    spend(desk, "850")
    desk.turn()
    desk.tell("ack")
    assert desk.messages() == [(Kind.FIRING, "80%", Reason.CROSSED)]
    desk.tell("unsilence")
    desk.turn(after=25 * HOUR)
    desk.tell("ack")
    assert desk.messages() == []


def test_an_order_that_fails_changes_nothing(desk: Desk) -> None:
    desk.turn()
    for arguments in (
        {"for_s": 0},
        {"for_s": 31 * 24 * 3600},
        {"for_s": 10**30},
        {"for_s": True},
        {"for_s": "1h"},
        {"for_s": 60, "why": 5},
        {},
    ):
        with pytest.raises(UserError) as caught:
            desk.tell("silence", **arguments)
        assert caught.value.exit_code is ExitCode.USAGE
    for name in ("", "trainng", "training/1"):
        with pytest.raises(UserError):
            desk.tell("silence", name, for_s=60)
    with pytest.raises(UserError, match="does not know the command 'reboot'"):
        desk.tell("reboot")
    assert desk.stored() == []


def test_a_budget_that_is_silenced_and_then_removed_can_still_be_told_again(desk: Desk) -> None:
    desk.turn()
    desk.tell("silence", for_s=7200)
    desk.budgets = [budget("other")]
    desk.turn()
    with pytest.raises(UserError, match='no budget is named "training"'):
        desk.tell("silence", for_s=60)
    desk.tell("unsilence")
    desk.turn()
    assert desk.stored() == []


def test_a_configured_budget_can_be_silenced_before_the_first_turn(desk: Desk) -> None:
    desk.tell("silence", for_s=3600)
    spend(desk, "1100")
    desk.turn(after=MINUTE)
    assert desk.messages() == []


def test_what_is_covered_by_a_wider_silence_is_not_called_loud(desk: Desk) -> None:
    desk.budgets = [budget(each="account")]
    desk.sources = [AccountsSource("aws", "900")]
    desk.turn()
    desk.tell("silence", "training/a", for_s=3600)
    desk.tell("silence", "training", for_s=7200)
    with pytest.raises(UserError, match="end that: monitor unsilence training"):
        desk.tell("unsilence", "training/a")
    assert len(desk.stored()) == 2
    assert "no longer silenced" in desk.tell("unsilence", "training")
    assert desk.tell("ack", "training/a").startswith("acknowledged: training/a, actual 80% (warning)")
    desk.turn()
    assert desk.tell("unsilence", "training/a") == "training/a is no longer acknowledged; its repeats go on"


def test_a_silence_and_an_ack_end_together_and_both_are_said(desk: Desk) -> None:
    spend(desk, "1100")
    desk.turn()
    desk.tell("ack")
    desk.tell("silence", for_s=3600)
    said = desk.tell("unsilence")
    assert said == "training is no longer silenced nor acknowledged; if it is over a limit, that is told now"


def test_the_monitors_own_faults_are_told_in_a_silence(desk: Desk) -> None:
    desk.turn()
    desk.tell("silence", for_s=30 * 24 * 3600)
    desk.sources[0].error = TemporaryError("503")
    desk.turn(after=60 * HOUR)
    assert [kind for kind, _, _ in desk.messages()] == [Kind.FIRING]


def digest_of(desk: Desk, receiver: str = "oncall") -> dict[str, tuple[str, ...]]:
    (message,) = [one for one in desk.owed(receiver) if one.facts.kind is Kind.SUMMARY]
    return {"": (message.facts.title,), **dict(message.facts.sections)}


def test_a_digest_says_how_all_stands_and_what_fired_since_the_last(desk: Desk) -> None:
    desk.digests = (("oncall", "daily 09:00"),)
    desk.budgets = [budget(), budget("small", amount=Decimal(100)), budget("large", amount=Decimal(100_000))]
    desk.turn()
    assert desk.owed() == [], "a new schedule begins with its next slot"
    spend(desk, "850")
    desk.turn()
    desk.tell("silence", "large", for_s=24 * 3600, why="on purpose")
    desk.turn(after=6 * HOUR)
    assert not desk.keep(after=59 * MINUTE)
    assert desk.keep()
    digest = digest_of(desk)
    assert digest[""] == ("2 of 3 budgets over a limit, 10 Nov 2026",)
    assert [line.partition(", forecast")[0] for line in digest["Budgets"]] == [
        "small: 850.00 of 100.00 USD, 850%",
        "training: 850.00 of 1,000.00 USD, 85%",
        "large: 850.00 of 100,000.00 USD, 0%",
    ]
    assert digest["Fired since 10 Nov 2026 01:00 UTC"] == (
        "training: actual 80% (warning), 10 Nov 2026 02:00 UTC, still firing",
        "small: actual 100% (critical), 10 Nov 2026 02:00 UTC, still firing",
        "small: actual 80% (warning), 10 Nov 2026 02:00 UTC, still firing",
    )
    assert digest["Not told for now"] == ("large is silenced until 11 Nov 2026 02:00 UTC by root: on purpose",)
    assert "Not up to date" not in digest
    desk.turn()
    assert [one for one in desk.owed() if one.facts.kind is Kind.SUMMARY] == [], "once a day"
    desk.turn(after=23 * HOUR)
    assert digest_of(desk)["Fired since 10 Nov 2026 09:00 UTC"] == ("nothing",)


def test_a_digest_says_what_cannot_be_relied_on(desk: Desk) -> None:
    desk.digests = (("oncall", "daily 09:00"), ("mail", "daily 09:00"))
    desk.turn()
    desk.sources[0].error = TemporaryError("503")
    outbox = StoredOutbox(desk.store)
    desk.turn(after=60 * HOUR)
    desk.owed()
    outbox.receiver_dead("mail", "it refuses the login", desk.now, desk.now + HOUR)
    desk.now = datetime(2026, 11, 14, 9, tzinfo=UTC)
    desk.turn(after=timedelta(0))
    digest = digest_of(desk)
    assert digest[""] == ("1 budget within limits, not all is up to date, 14 Nov 2026",)
    assert digest["Not up to date"] == ("aws is STALE, its newest data is 4 d 8 h old: 503",)
    assert digest["Not delivered"] == ("mail is DEAD: it refuses the login",)


def test_a_digest_says_why_a_source_was_never_read(desk: Desk) -> None:
    desk.digests = (("oncall", "daily 09:00"),)
    desk.sources[0].error = TemporaryError("503")
    desk.turn()
    desk.now = datetime(2026, 11, 10, 9, tzinfo=UTC)
    desk.turn(after=timedelta(0))
    assert digest_of(desk)["Not up to date"] == ("aws was never read: 503",)


def test_a_digest_shows_no_figure_of_what_begins_later(desk: Desk) -> None:
    desk.digests = (("oncall", "daily 09:00"),)
    desk.budgets = [
        budget("later", period=Period(datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 9, tzinfo=UTC)))
    ]
    desk.turn()
    desk.now = datetime(2026, 11, 10, 9, tzinfo=UTC)
    desk.turn(after=timedelta(0))
    assert digest_of(desk)["Budgets"] == ("later: begins on 1 Dec 2026",)


def test_a_missed_slot_is_made_up_once_if_it_is_less_than_a_day_old(desk: Desk) -> None:
    desk.digests = (("oncall", "weekly tue 09:00"),)
    desk.turn()
    desk.now = START + timedelta(days=7, hours=20)  # it was due eleven hours ago
    desk.turn(after=timedelta(0))
    assert len(desk.owed()) == 1
    desk.turn()
    assert desk.owed() == []
    desk.now = START + timedelta(days=16)  # since the slot of the day before yesterday more than a day has passed
    desk.turn(after=timedelta(0))
    assert desk.owed() == []
    desk.now = START + timedelta(days=21, hours=9)
    desk.turn(after=timedelta(0))
    assert "Fired since 17 Nov 2026 20:00 UTC" in digest_of(desk)


def test_after_a_long_absence_one_digest_and_not_several(desk: Desk) -> None:
    desk.digests = (("oncall", "daily 09:00"),)
    desk.turn()
    desk.turn(after=timedelta(days=40))
    assert len([one for one in desk.owed() if one.facts.kind is Kind.SUMMARY]) == 1


def test_a_changed_schedule_begins_with_its_next_slot_and_a_forgotten_one_is_forgotten(desk: Desk) -> None:
    desk.digests = (("oncall", "daily 09:00"),)
    desk.turn()
    desk.turn(after=20 * HOUR)
    assert len(desk.owed()) == 1
    desk.digests = (("oncall", "daily 20:00"),)
    desk.turn()
    assert desk.owed() == []
    desk.digests = ()
    desk.turn(after=24 * HOUR)
    desk.digests = (("oncall", "daily 20:00"),)
    desk.turn()
    assert desk.owed() == []


def test_a_clock_that_was_ahead_neither_stops_digests_nor_repeats_one(desk: Desk) -> None:
    desk.digests = (("oncall", "daily 09:00"),)
    desk.turn()
    desk.turn(after=9 * HOUR)
    (first,) = desk.owed()
    desk.now += timedelta(days=365)
    desk.turn()
    desk.owed()
    desk.now = START + timedelta(hours=8)
    desk.turn(after=timedelta(0))
    desk.turn()
    assert [one.id for one in desk.owed() if one.facts.kind is Kind.SUMMARY] == [], f"{first.id} is there already"
    desk.turn(after=24 * HOUR)
    assert len([one for one in desk.owed() if one.facts.kind is Kind.SUMMARY]) == 1


def test_each_receiver_reads_of_the_budgets_that_name_it_and_one_that_none_names_of_all(desk: Desk) -> None:
    desk.digests = (("oncall", "daily 09:00"), ("boss", "daily 09:00"), ("mail", "daily 09:00"))
    desk.budgets = [budget(), budget("other", receivers=("mail",))]
    desk.turn()
    desk.turn(after=9 * HOUR)

    def names(receiver: str) -> list[str]:
        return [line.partition(":")[0] for line in digest_of(desk, receiver)["Budgets"]]

    assert names("oncall") == ["training"]
    assert names("mail") == ["other"]
    assert names("boss") == ["other", "training"]


def test_slot_and_message_are_one_transaction(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.digests = (("oncall", "daily 09:00"),)
    desk.turn()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StoredOutbox, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            desk.turn(after=9 * HOUR)
    assert desk.owed() == []
    desk.turn()
    assert len(desk.owed()) == 1


def test_the_forecast_is_told_when_there_is_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from monitor import facts_document

    real = facts_document.budget_facts
    monkeypatch.setattr("monitor.facts_document.budget_facts", lambda *a, **k: {**real(*a, **k), "forecast": "1204.1"})
    desk.digests = (("oncall", "daily 09:00"),)
    desk.turn()
    desk.turn(after=9 * HOUR)
    assert digest_of(desk)["Budgets"] == ("training: 10.00 of 1,000.00 USD, 1%, forecast 1,204.10",)


def test_damage_is_found(desk: Desk) -> None:
    desk.turn()
    desk.tell("silence", for_s=3600)
    with desk.store.transaction() as tx:
        tx.execute("UPDATE silence SET until = until + 1")
    with pytest.raises(UserError, match="the store is damaged"):
        desk.stored()
