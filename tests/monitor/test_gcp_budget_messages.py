"""Budget messages through the real client of Pub/Sub over gRPC: nothing is lost, nothing counts twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alarms.errors import AccessError, OutsideError, PermanentError, UnreachableError
from alarms.model import Period
from monitor.model import Batch, Window
from monitor.period import month_of
from monitor.simulation.gcp import GoogleCloud
from monitor.simulation.pubsub import PubSub
from monitor.sources import gcp_budget_messages
from monitor.sources.gcp_billing_export import Settings as ExportSettings
from monitor.sources.gcp_budget_messages import GcpBudgetMessages, Settings
from monitor.store import charges, meters
from monitor.store.database import Store, open_store
from tests.fakes import fault_server
from tests.fakes.fault_server import FaultServer
from tests.fakes.gcp_stage import EVER, TABLE, at
from tests.fakes.ledger import totals_by_series

NAME = "projects/bill-proj/subscriptions/budget"
ACCOUNT = "0123AB-4567CD-89EF01"
NOVEMBER, DECEMBER = at("11-01T07"), at("12-01T08")
NOW = at("11-10T12")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with GoogleCloud() as cloud, mock.patch.dict("os.environ", cloud.environment(tmp_path_factory.mktemp("key"))):
        yield


@pytest.fixture
def topic(credentials: None) -> Iterator[PubSub]:
    with PubSub(NAME) as made, mock.patch.dict("os.environ", made.environment):
        yield made


def source(**more: Any) -> GcpBudgetMessages:
    described = {"name": "live", "subscription": NAME, "billing_account": ACCOUNT, **more}
    return GcpBudgetMessages(Settings.model_validate(described))


@dataclass
class Books:
    """A real store. `lost`: what was read is not committed: the process was killed."""

    store: Store
    source: GcpBudgetMessages = field(default_factory=source)

    def read(self, now: datetime, *, lost: bool = False) -> Batch:
        with self.store.read() as tx:
            known = meters.read(tx, "live")
        (window,) = self.source.windows(now, known, None)
        rest: Window | None = window
        while rest is not None:
            batch = self.source.fetch(rest)
            if not lost:
                with self.store.transaction() as tx:
                    charges.replace(tx, "live", batch, now)
            rest = batch.rest
        return batch

    def total(self, period: Period = EVER) -> Decimal:
        with self.store.read() as tx:
            return sum(totals_by_series(tx, period).values(), Decimal(0))

    def invoices(self) -> dict[str, Decimal]:
        with self.store.read() as tx:
            return {one.billing_period: amount for one, amount in totals_by_series(tx, EVER).items()}


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    with open_store(tmp_path / "state") as store:
        yield Books(store)


def test_the_month_to_date_becomes_charges_that_add_up(topic: PubSub, books: Books) -> None:
    for hours, cost in ((24, 10.5), (30, 12.25), (54, 100.1), (60, 99.1)):
        topic.tell(NOVEMBER + hours * HOUR, cost, NOVEMBER)
    batch = books.read(NOW)
    assert [(charge.period.start, charge.billed_cost) for charge in batch.charges] == [
        (NOVEMBER, Decimal("10.5")),
        (NOVEMBER + 24 * HOUR, Decimal("1.75")),
        (NOVEMBER + 30 * HOUR, Decimal("87.85")),
        (NOVEMBER + 54 * HOUR, Decimal("-1.0")),
    ]
    assert batch.data_as_of == NOVEMBER + 60 * HOUR
    topic.tell(NOVEMBER + 72 * HOUR, 150, NOVEMBER)
    books.read(NOW + HOUR)
    assert books.total() == 150


def test_a_message_is_acknowledged_only_when_the_ledger_has_it(topic: PubSub, books: Books) -> None:
    topic.tell(NOVEMBER + DAY, 10, NOVEMBER)
    books.read(NOW, lost=True)
    assert len(topic.held) == 1
    books.read(NOW)
    assert len(topic.held) == 1, "it may not have been committed"
    batch = books.read(NOW)
    assert len(topic.held) == 0
    assert (batch.charges, batch.data_as_of) == ((), NOVEMBER + DAY)
    assert books.total() == 10
    assert books.read(NOW).data_as_of == NOVEMBER + DAY


def test_what_a_killed_process_had_pulled_comes_again_when_its_time_is_up(topic: PubSub, books: Books) -> None:
    topic.tell(NOVEMBER + DAY, 10, NOVEMBER)
    with mock.patch.object(gcp_budget_messages.Subscription, "give_back"):
        books.read(NOW, lost=True)
        assert books.read(NOW).charges == ()
    topic.expire()
    books.read(NOW)
    assert books.total() == 10


def test_a_month_ends_where_the_budgets_does_and_its_last_messages_belong_to_it(topic: PubSub, books: Books) -> None:
    topic.tell(at("11-30T20"), 90, NOVEMBER)
    topic.tell(at("12-01T05"), 95, NOVEMBER)
    books.read(at("12-01T06"))
    topic.tell(at("12-01T07:30"), 96, NOVEMBER)
    topic.tell(at("12-01T10"), 0.5, DECEMBER)
    topic.tell(at("12-01T12"), 97, NOVEMBER)
    books.read(at("12-01T13"))
    topic.tell(at("12-02T12"), 98.5, NOVEMBER)
    topic.tell(at("12-02T13"), 3, DECEMBER)
    books.read(at("12-02T14"))
    assert books.total() == Decimal("98.5") + 3
    # By UTC days a little of November is in December; its invoice is known all the same.
    assert books.invoices() == {"": Decimal(95 + 3), "2026-11-01": Decimal("3.5")}
    assert books.total(month_of(at("12-05T00"))) == Decimal("6.5")
    assert [books.read(at("12-02T15")).charges, len(topic.held)] == [(), 0]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_in_whatever_order_and_however_often_they_come(topic: PubSub, tmp_path: Path, data: st.DataObject) -> None:
    told = [(NOVEMBER + number * 6 * HOUR, Decimal(number) * 10 + Decimal("0.25"), NOVEMBER) for number in range(1, 9)]
    told += [(DECEMBER + number * 6 * HOUR, Decimal(number), DECEMBER) for number in range(1, 4)]
    deliveries = data.draw(st.lists(st.sampled_from(told), max_size=9)) + data.draw(st.permutations(told))
    topic.held.clear()
    with open_store(tmp_path / f"state-{data.draw(st.uuids())}") as store:
        books = Books(store)
        for place, (instant, cost, since) in enumerate(deliveries):
            topic.tell(instant, float(cost), since)
            if place % 5 == 0:
                topic.expire()
                books.read(NOW + 60 * DAY, lost=data.draw(st.booleans()))
        topic.expire()
        books.read(NOW + 60 * DAY)
        assert books.total() == Decimal("80.25") + 3
        topic.expire()
        books.read(NOW + 60 * DAY)
        assert topic.held == {}


def test_a_late_message_of_last_month_takes_nothing_from_this_one(topic: PubSub, books: Books) -> None:
    topic.tell(at("03-30T20"), 90, at("03-01T08"))
    books.read(at("03-30T21"))
    topic.tell(at("04-01T07:30"), 0.5, at("04-01T07"))
    books.read(at("04-01T08"))
    # The clocks of California were put forward in between: March ends at 07:00 UTC, not at 08:00.
    topic.tell(at("04-01T09"), 95, at("03-01T08"))
    topic.tell(at("04-01T10"), 2, at("04-01T07"))
    books.read(at("04-01T11"))
    assert books.total(month_of(at("03-05T00"))) == 95
    assert books.total(month_of(at("04-05T00"))) == 2


@pytest.mark.parametrize("apart", [timedelta(0), HOUR])
def test_two_messages_of_one_instant_lose_nothing(topic: PubSub, books: Books, apart: timedelta) -> None:
    for cost in (10, 12, 11):
        topic.tell(NOVEMBER + DAY, cost, NOVEMBER)
        if apart:
            books.read(NOW)
    books.read(NOW)
    assert books.total() == (10 if apart else 12)
    topic.tell(NOVEMBER + 2 * DAY, 15, NOVEMBER)
    books.read(NOW + HOUR)
    assert books.total() == 15


def test_what_is_told_as_the_month_begins_is_not_lost(topic: PubSub, books: Books) -> None:
    topic.tell(NOVEMBER, 3, NOVEMBER)
    books.read(NOW)
    topic.tell(NOVEMBER + HOUR, 5, NOVEMBER)
    books.read(NOW)
    assert books.total() == 5


FOREIGN: dict[str, Any] = {"account": "AAAAAA-AAAAAA-AAAAAA", "budget": "b-2"}
ODD: list[dict[str, Any]] = [FOREIGN, {"since": at("08-01T07")}, {"currency": "EUR"}]


@pytest.mark.parametrize("more", ODD)
def test_one_message_that_cannot_be_meant_holds_up_no_other(topic: PubSub, books: Books, more: dict[str, Any]) -> None:
    topic.tell(NOVEMBER + DAY, 500, **({"since": NOVEMBER} | more))
    topic.tell(NOVEMBER + 2 * DAY, 10, NOVEMBER)
    for _ in range(2):
        batch = books.read(NOW)
        assert (books.total(), batch.data_as_of, batch.rejected) == (10, NOVEMBER + 2 * DAY, 0)
    assert topic.held == {}, "it is taken off once the ledger has ours"


@pytest.mark.parametrize("more", ODD)
def test_what_comes_after_ours_is_booked_by_nobody(topic: PubSub, books: Books, more: dict[str, Any]) -> None:
    topic.tell(NOVEMBER + DAY, 10, NOVEMBER)
    topic.tell(NOVEMBER + 2 * DAY, 500, **({"since": NOVEMBER} | more))
    books.read(NOW)
    assert books.total() == 10
    if more is FOREIGN:
        books.read(NOW)
    else:
        with pytest.raises(PermanentError, match=r"not one by the month|change its currency"):
            books.read(NOW)
        topic.expire()
        topic.tell(NOVEMBER + 3 * DAY, 12, NOVEMBER)
        books.read(NOW)
    books.read(NOW)
    assert (books.total(), topic.held) == (10 if more is FOREIGN else 12, {})


def test_only_one_budget_counts(topic: PubSub, books: Books) -> None:
    topic.tell(NOVEMBER + DAY, 10, NOVEMBER)
    topic.tell(NOVEMBER + DAY, 500, NOVEMBER, budget="b-2", name="all of it")
    with pytest.raises(PermanentError, match="has messages of 2 budgets: say which one counts in `budget`"):
        books.read(NOW)
    assert len(topic.held) == 2
    topic.expire()
    books.source = source(budget="all of it")
    books.read(NOW)
    assert books.total() == 500
    topic.tell(NOVEMBER + 2 * DAY, 501, NOVEMBER, budget="b-2", name="renamed")
    books.source = source(budget="b-2")
    books.read(NOW)
    assert books.total() == 501


@pytest.mark.parametrize("more", [{}, {"budget": "training"}])
def test_a_budget_that_was_made_anew_under_its_name_takes_over(
    topic: PubSub, books: Books, more: dict[str, Any]
) -> None:
    books.source = source(**more)
    topic.tell(NOVEMBER + DAY, 10, NOVEMBER)
    books.read(NOW)
    topic.tell(NOVEMBER + 2 * DAY, 20, NOVEMBER, budget="b-2")
    with pytest.raises(PermanentError, match="has messages of 2 budgets"):
        books.read(NOW)
    assert (books.total(), len(topic.held)) == (10, 1), "what the ledger has does not come again"
    for _ in range(2):
        books.read(NOW)
        assert books.total() == 20
    assert topic.held == {}
    topic.tell(NOVEMBER + 3 * DAY, 9, NOVEMBER, budget="b-2")
    books.read(NOW)
    assert books.total() == 9, "once it counts, it may fall"


def test_another_budget_that_counts_less_does_not_take_over_unless_it_is_named(topic: PubSub, books: Books) -> None:
    topic.tell(NOVEMBER + DAY, 500, NOVEMBER)
    books.read(NOW)
    topic.tell(NOVEMBER + 2 * DAY, 20, NOVEMBER, budget="b-2")
    for words in ("has messages of 2 budgets", "counts less than the one before", "counts less than the one before"):
        with pytest.raises(PermanentError, match=words):
            books.read(NOW)
        assert (books.total(), len(topic.held)) == (500, 1)
    books.source = source(budget="b-2")
    books.read(NOW)
    assert books.total() == 20


def test_what_is_no_message_of_a_budget_is_taken_off(topic: PubSub, books: Books) -> None:
    topic.publish(NOW, b"hello")
    topic.publish(NOW, b'{"a": 1}', budgetId="b-1")
    topic.publish(NOW, b"[" * 100_000, budgetId="b-1")
    topic.publish(NOW, b"\xff", budgetId="b-1")
    batch = books.read(NOW)
    assert (batch.charges, batch.data_as_of, batch.rejected) == ((), None, 0)
    assert topic.held == {}


@pytest.mark.parametrize("cost", ["10", None, True, [], {}, float("nan"), float("inf"), 1e300, "1_0"])
def test_an_amount_that_is_none_is_said_until_a_better_one_comes(topic: PubSub, books: Books, cost: Any) -> None:
    topic.tell(NOVEMBER + DAY, 10, NOVEMBER)
    topic.tell(NOVEMBER + 2 * DAY, cost, NOVEMBER)
    batch = books.read(NOW)
    if cost == "10":
        assert books.total() == 10
        return
    assert (batch.rejected, batch.missing, batch.data_as_of) == (1, ("1 unusable message",), NOVEMBER + DAY)
    assert books.total() == 10
    assert books.read(NOW).missing == batch.missing
    topic.tell(NOVEMBER + 3 * DAY, 20, NOVEMBER)
    assert books.read(NOW).missing == ()
    books.read(NOW)
    assert (books.total(), topic.held) == (20, {})


def test_amounts_are_what_was_written(topic: PubSub, books: Books) -> None:
    text = '{"costAmount": %s, "costIntervalStart": "2026-11-01T07:00:00Z", "currencyCode": "USD"}'
    for number, amount in enumerate(["0.1", "1.0E2", "123456.789012345678", "1e-7", "123456.1000000000000000001"]):
        data = (text % amount).encode()
        topic.publish(NOVEMBER + number * DAY + HOUR, data, budgetId="b-1", billingAccountId=ACCOUNT)
    batch = books.read(NOW)
    assert [charge.billed_cost for charge in batch.charges[:2]] == [Decimal("0.1"), Decimal("99.9")]
    assert books.total() == Decimal("123456.1")
    assert batch.rejected == 0


def test_many_messages_come_in_several_pulls(topic: PubSub, books: Books) -> None:
    topic.at_once = 7
    for number in range(1, 40):
        topic.tell(NOVEMBER + number * HOUR, number, NOVEMBER)
    batch = books.read(NOW)
    assert len(batch.charges) == 39
    assert books.total() == 39


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"account": "AAAAAA-AAAAAA-AAAAAA"}, "are of another billing account than 0123AB-4567CD-89EF01"),
        ({"currency": "\x1b[2J"}, "the budget is in another currency, but source live is set to USD"),
        ({"currency": "EUR"}, "the budget is in EUR, but source live is set to USD: change its currency"),
        ({"since": at("01-01T08")}, "the budget is not one by the month"),
    ],
)
def test_a_budget_that_cannot_be_meant(topic: PubSub, books: Books, more: dict[str, Any], words: str) -> None:
    topic.tell(NOVEMBER + DAY, 10, **({"since": NOVEMBER} | more))
    with pytest.raises(PermanentError, match=words):
        books.read(NOW)
    assert len(topic.held) == 1


@pytest.mark.parametrize("permission", ["pubsub.subscriptions.get", "pubsub.subscriptions.consume"])
def test_a_permission_that_is_missing_is_named(topic: PubSub, books: Books, permission: str) -> None:
    topic.denied = {permission}
    with pytest.raises(AccessError, match=re.escape(f"allow {permission} on subscription {NAME}")):
        books.read(NOW)


def test_a_subscription_that_is_not_there(topic: PubSub, books: Books) -> None:
    books.source = source(subscription=f"{NAME}-2")
    with pytest.raises(PermanentError, match=f"it is not there; check the name of subscription {NAME}-2"):
        books.read(NOW)
    with pytest.raises(PermanentError):
        books.source.probe()
    assert source().probe() == f"the subscription {NAME} is there"


@pytest.mark.parametrize(
    "fault", [fault_server.hang, fault_server.reset_after(0), fault_server.answer(b"HTTP/1.1 200 OK\r\n\r\n")]
)
def test_nobody_there_is_an_error_and_not_silence(
    topic: PubSub, books: Books, monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    monkeypatch.setattr("monitor.clients.pubsub._CALL_S", 2.0)
    with FaultServer(fault) as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{server.port}")
        with pytest.raises(OutsideError) as caught:
            books.read(NOW)
    assert isinstance(caught.value, UnreachableError), caught.value


def test_the_permissions_are_those_of_the_document(topic: PubSub, books: Books) -> None:
    topic.tell(NOVEMBER + DAY, 10, NOVEMBER)
    books.read(NOW)
    books.read(NOW)
    books.source.probe()
    page = (Path(__file__).parents[2] / "docs/permissions/gcp.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-zA-Z.]+)` \|(.*)\|$", page, re.MULTILINE)
    assert topic.asked == {name for name, row in rows if "`gcp_budget_messages`" in row}


def test_it_is_a_view_of_the_bill_that_the_export_shows() -> None:
    described = Settings.model_validate({"name": "live", "subscription": NAME, "billing_account": ACCOUNT})
    assert described.bill == ExportSettings.model_validate({"name": "gcp", "table": TABLE}).bill == f"gcp/{ACCOUNT}"


@pytest.mark.parametrize("name", ["budget", "projects/p/subscriptions/", "projects/bill-proj/topics/budget"])
def test_a_subscription_by_another_name(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"name": "live", "subscription": name, "billing_account": ACCOUNT})
    assert "projects/PROJECT/subscriptions/NAME" in json.dumps(caught.value.errors(), default=str)
