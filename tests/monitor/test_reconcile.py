"""Two sources over one bill are views of it and never added; credits are told apart. Whole turns on a real store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alarms.errors import AccessError, OutsideError, TemporaryError
from alarms.model import Kind, Limit, Period, Severity, Threshold
from monitor import spend
from monitor.config.model import BudgetConfig, Config, MonitorSection
from monitor.cycle import Cycle
from monitor.model import CREDIT, Basis, Batch, Charge, Scope, Series, Window
from monitor.period import PeriodKind, midnight
from monitor.status.judge import judge
from monitor.status.render import render
from monitor.store import facts
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox
from tests.monitor.test_cycle import ReceiverSettings, SourceSettings

START = datetime(2026, 11, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
ALL = Period(datetime(2026, 9, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class ViewSettings(SourceSettings):
    bill: str = ""


@dataclass(eq=False)
class View:
    """A source that shows days of a bill as the test says: (day, cost) by what they belong to."""

    name: str
    bill: str = "payer"
    days: dict[Series, dict[date, str]] = field(default_factory=dict)
    as_of: datetime | None = None
    error: OutsideError | None = None
    missing: tuple[str, ...] = ()

    def shows(self, day: date, cost: str, **belongs: Any) -> None:
        self.days.setdefault(Series(self.name, "USD", **belongs), {})[day] = cost

    def windows(self, now: datetime, *_: object) -> tuple[Window, ...]:
        return (Window(Period(ALL.start, now)),)

    def fetch(self, window: Window) -> Batch:
        if self.error is not None:
            raise self.error
        charges = [
            Charge(series, Period(midnight(day), midnight(day) + DAY), Decimal(cost))
            for series, days in self.days.items()
            for day, cost in days.items()
        ]
        as_of = self.as_of or window.period.end
        return Batch(tuple(charges), dict.fromkeys(self.days, ALL), as_of, missing=self.missing)

    def probe(self) -> str:
        return ""


def budget(**more: Any) -> BudgetConfig:
    thresholds = (
        Threshold("actual", Limit("100%", percent=Decimal(100)), Severity.CRITICAL),
        Threshold("burn_rate", Limit("2.0", rate=Decimal(2)), Severity.WARNING, over=(DAY,)),
    )
    whole = BudgetConfig("training", Decimal(1000), "USD", PeriodKind.MONTH, Scope(), None, ("oncall",), thresholds, {})
    return replace(whole, **more)


@dataclass
class World:
    store: Store
    views: list[View]
    budgets: list[BudgetConfig] = field(default_factory=lambda: [budget()])
    now: datetime = START

    def turn(self, after: timedelta = HOUR) -> dict[str, Any]:
        """One turn, from the config on; what it says of the first budget."""
        self.now += after
        config = Config(
            path=Path("config.toml"),
            monitor=MonitorSection(Path("state"), timedelta(minutes=5), "UTC", ("oncall",)),
            sources=tuple(ViewSettings(view.name, bill=view.bill) for view in self.views),
            receivers=(ReceiverSettings("oncall"),),
            budgets=tuple(self.budgets),
        )
        Cycle(config, self.views, self.store, StoredOutbox(self.store)).turn(self.now, everything=True)
        row: dict[str, Any] = self.facts["budgets"][0]
        return row

    @property
    def facts(self) -> dict[str, Any]:
        with self.store.read() as connection:
            document: dict[str, Any] = json.loads(facts.read_facts(connection) or "{}")
        return document

    @property
    def status(self) -> dict[str, Any]:
        return judge(self.facts, self.now, running=True)

    def kinds(self) -> list[Kind]:
        return [delivery.notification.facts.kind for delivery in StoredOutbox(self.store).owed("oncall")]

    def spend(self, by: str) -> tuple[dict[str, Any], str]:
        with self.store.read() as connection:
            rows = spend.read(connection, by, NOVEMBER)
        document: dict[str, Any] = json.loads(spend.as_json(rows, by, NOVEMBER))
        return document, spend.as_table(rows, by, NOVEMBER, self.now)


@contextmanager
def world_of(directory: Path, *views: View) -> Iterator[World]:
    with open_store(directory / "state") as store:
        yield World(store, list(views))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_of(tmp_path, View("metrics"), View("explorer")) as made:
        yield made


def test_two_views_of_one_bill_are_never_added_and_the_higher_one_counts(world: World) -> None:
    metrics, explorer = world.views
    metrics.shows(date(2026, 11, 2), "600")
    explorer.shows(date(2026, 11, 2), "590", service="EC2")
    row = world.turn()
    assert (row["spend"], row["counted"], row["views"]) == ("600", ["metrics"], {"metrics": "600", "explorer": "590"})
    explorer.shows(date(2026, 11, 3), "30", service="EC2")
    row = world.turn()
    assert (row["spend"], row["counted"]) == ("620", ["explorer"])
    assert row["sources"] == ["metrics", "explorer"]
    assert "by explorer; of the same bill metrics says 600.00" in render(world.status, colour=False)


def test_a_view_that_fails_or_is_late_lowers_nothing(world: World) -> None:
    metrics, explorer = world.views
    metrics.shows(date(2026, 11, 2), "900")
    explorer.shows(date(2026, 11, 2), "1100")
    assert world.turn()["spend"] == "1100"
    assert world.kinds() == [Kind.FIRING]
    explorer.error = TemporaryError("503")
    for _ in range(14):
        row = world.turn(6 * HOUR)
        assert (row["spend"], row["counted"]) == ("1100", ["explorer"])
    # It is stale by now: what it showed stays, and nothing is over by the other that shows less.
    assert [alarm["data"] for alarm in row["alarms"] if alarm["on"] == "actual"] == ["NO_DATA"]
    assert Kind.RESOLVED not in world.kinds()
    metrics.shows(date(2026, 11, 12), "250")
    row = world.turn()
    assert (row["spend"], row["counted"]) == ("1150", ["metrics"])
    assert [alarm["data"] for alarm in row["alarms"] if alarm["on"] == "actual"] == ["OK"]


def test_a_view_that_does_not_count_makes_no_figure_doubtful(world: World) -> None:
    metrics, explorer = world.views
    metrics.shows(date(2026, 11, 2), "900")
    metrics.as_of, explorer.as_of = START, START - 40 * HOUR
    explorer.shows(date(2026, 11, 2), "800")
    explorer.missing = ("account 7",)
    row = world.turn()
    assert (row["data_as_of"], row["lower_bound"]) == ("2026-11-10T00:00:00Z", False)
    (shown,) = world.status["budgets"]
    assert (shown["lower_bound"], shown["stale"], shown["gross"]) == (False, [], "900")
    explorer.shows(date(2026, 11, 3), "800")
    row = world.turn()
    assert (row["data_as_of"], row["lower_bound"]) == ("2026-11-08T08:00:00Z", True)


def test_sources_of_different_bills_add_up(world: World) -> None:
    metrics, explorer = world.views
    explorer.bill = "somebody else"
    metrics.shows(date(2026, 11, 2), "600")
    explorer.shows(date(2026, 11, 2), "590")
    row = world.turn()
    assert (row["spend"], row["counted"], row["views"]) == ("1190", ["metrics", "explorer"], {})
    document, _ = world.spend("service")
    assert [total["billed"] for total in document["totals"]] == ["1190"]


def test_a_third_source_of_another_bill_is_added_to_the_view_that_counts(tmp_path: Path) -> None:
    with world_of(tmp_path, View("metrics"), View("explorer"), View("elsewhere", bill="gcp")) as world:
        for view, cost in zip(world.views, ("600", "590", "1000"), strict=True):
            view.shows(date(2026, 11, 2), cost)
        row = world.turn()
        assert (row["spend"], row["counted"]) == ("1600", ["metrics", "elsewhere"])


def test_a_budget_of_one_source_counts_that_one_alone(world: World) -> None:
    metrics, explorer = world.views
    world.budgets = [budget(scope=Scope(source=("explorer",)))]
    metrics.shows(date(2026, 11, 2), "600")
    explorer.shows(date(2026, 11, 2), "590")
    row = world.turn()
    assert (row["spend"], row["counted"], row["views"]) == ("590", ["explorer"], {})


def test_each_scope_takes_the_view_that_shows_more_of_it(world: World) -> None:
    """What only one of them can tell, such as a run, is that one's."""
    metrics, explorer = world.views
    metrics.shows(date(2026, 11, 2), "600")
    explorer.shows(date(2026, 11, 2), "100", service="EC2", run="llama")
    explorer.shows(date(2026, 11, 2), "450", service="EC2")
    world.budgets = [budget(), budget(name="llama", scope=Scope(run=("llama",)))]
    world.turn()
    whole, llama = world.facts["budgets"]
    assert (whole["spend"], whole["counted"]) == ("600", ["metrics"])
    assert (llama["spend"], llama["counted"]) == ("100", ["explorer"])


def test_a_new_period_is_counted_by_the_first_that_has_it_and_the_old_one_by_the_higher(world: World) -> None:
    metrics, explorer = world.views
    world.budgets = [budget(thresholds=(Threshold("actual", Limit("100%", percent=Decimal(100)), Severity.CRITICAL),))]
    metrics.shows(date(2026, 11, 2), "900")
    explorer.shows(date(2026, 11, 2), "1100")
    world.turn()
    explorer.as_of = world.now
    metrics.shows(date(2026, 12, 1), "5")
    row = world.turn(after=NOVEMBER.end + 12 * HOUR - world.now)
    assert (row["period"]["start"], row["spend"], row["counted"]) == ("2026-12-01T00:00:00Z", "5", ["metrics"])


def test_forecast_and_burn_rate_are_those_of_the_view_that_counts(world: World) -> None:
    metrics, explorer = world.views
    world.now = datetime(2026, 11, 20, 23, tzinfo=UTC)
    for ago in range(1, 31):
        day = date(2026, 11, 21) - ago * DAY
        metrics.shows(day, "10")
        explorer.shows(day, "20")
    explorer.as_of = metrics.as_of = datetime(2026, 11, 21, tzinfo=UTC)
    row = world.turn()
    # 20 days of 20 are spent, 10 days are to come; never 30 a day.
    assert (row["spend"], row["forecast"], row["forecast_days"]) == ("400", "600", 30)
    assert row["burn_rates"] == {"24h": "0.6"}


def test_what_is_known_of_a_day_that_data_does_not_reach_into_is_not_expected_a_second_time(tmp_path: Path) -> None:
    with world_of(tmp_path, View("explorer")) as world:
        (explorer,) = world.views
        world.now = datetime(2026, 11, 21, 11, tzinfo=UTC)
        explorer.as_of = datetime(2026, 11, 21, tzinfo=UTC)
        for ago in range(1, 31):
            explorer.shows(date(2026, 11, 21) - ago * DAY, "20")
        assert world.turn()["forecast"] == "600"
        explorer.shows(date(2026, 11, 21), "12")
        row = world.turn()
        assert (row["spend"], row["forecast"], row["forecast_days"]) == ("412", "600", 30)
        explorer.shows(date(2026, 11, 21), "900")
        assert world.turn()["forecast"] == "1300"


DAYS = st.dictionaries(st.integers(1, 9), st.decimals(min_value=0, max_value=500, places=2), max_size=6)


@settings(max_examples=25)
@given(turns=st.lists(st.tuples(DAYS, st.booleans(), DAYS, st.booleans()), min_size=1, max_size=4))
def test_whatever_comes_when_the_figure_is_that_of_the_higher_view(
    turns: list[tuple[dict[int, Decimal], bool, dict[int, Decimal], bool]],
) -> None:
    with TemporaryDirectory() as directory, world_of(Path(directory), View("metrics"), View("explorer")) as world:
        stored: dict[str, Decimal] = {}
        for first, first_fails, second, second_fails in turns:
            for view, days, fails in zip(world.views, (first, second), (first_fails, second_fails), strict=True):
                view.error = TemporaryError("503") if fails else None
                for day, cost in days.items():
                    view.shows(date(2026, 11, day), str(cost))
                if not fails and view.days:
                    stored[view.name] = sum(map(Decimal, *[d.values() for d in view.days.values()]), Decimal(0))
            row = world.turn()
            most = max(stored.values(), default=None)
            assert (None if row["spend"] is None else Decimal(row["spend"])) == most
            document, _ = world.spend("day")
            assert sum((Decimal(total["billed"]) for total in document["totals"]), Decimal(0)) == (most or 0)


def credited(world: World) -> None:
    (explorer,) = world.views
    explorer.shows(date(2026, 11, 2), "600", service="EC2", region="us-east-1", charge_category="Usage")
    explorer.shows(date(2026, 11, 2), "60.5", service="Tax", charge_category="Tax")
    explorer.shows(date(2026, 11, 2), "-200.25", service="EC2", region="us-east-1", charge_category=CREDIT)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[World]:
    with world_of(tmp_path, View("explorer")) as made:
        credited(made)
        yield made


def test_gross_leaves_credits_out_net_counts_them_and_both_are_shown(alone: World) -> None:
    alone.budgets = [budget(), budget(name="after", basis=Basis.NET)]
    alone.turn()
    gross, net = alone.facts["budgets"]
    for row, counted in ((gross, "660.5"), (net, "460.25")):
        assert (row["billed"], row["spend"], row["gross"], row["net"]) == (counted, counted, "660.5", "460.25")
    text = render(alone.status, colour=False)
    assert "credits -200.25; after them 460.25" in text
    assert "credits -200.25; before them 660.50" in text
    assert {row["basis"] for row in alone.status["budgets"]} == {"gross", "net"}


def test_where_there_are_no_credits_nothing_is_said_of_them(alone: World) -> None:
    (explorer,) = alone.views
    explorer.days = {series: days for series, days in explorer.days.items() if series.charge_category != CREDIT}
    row = alone.turn()
    assert (row["gross"], row["net"]) == ("660.5", "660.5")
    assert "credit" not in render(alone.status, colour=False)
    assert "CREDITS" not in alone.spend("service")[1]


def test_credits_alone_are_a_gross_of_nothing(alone: World) -> None:
    (explorer,) = alone.views
    explorer.days = {series: days for series, days in explorer.days.items() if series.charge_category == CREDIT}
    row = alone.turn()
    assert (row["spend"], row["gross"], row["net"]) == ("0", "0", "-200.25")


def test_what_is_not_known_is_null_in_both(tmp_path: Path) -> None:
    with world_of(tmp_path, View("explorer", error=TemporaryError("503"))) as world:
        row = world.turn()
        assert (row["spend"], row["gross"], row["net"]) == (None, None, None)


def test_a_forecast_of_net_is_of_net_days(tmp_path: Path) -> None:
    with world_of(tmp_path, View("explorer")) as world:
        (explorer,) = world.views
        world.now = datetime(2026, 11, 20, 23, tzinfo=UTC)
        explorer.as_of = datetime(2026, 11, 21, tzinfo=UTC)
        for ago in range(1, 31):
            explorer.shows(date(2026, 11, 21) - ago * DAY, "20")
            explorer.shows(date(2026, 11, 21) - ago * DAY, "-5", charge_category=CREDIT)
        world.budgets = [budget(basis=Basis.NET), budget(name="gross")]
        row = world.turn()
        assert (row["spend"], row["forecast"], row["burn_rates"]) == ("300", "450", {"24h": "0.45"})
        assert world.facts["budgets"][1]["forecast"] == "600"
        assert world.facts["budgets"][1]["burn_rates"] == {"24h": "0.6"}


def test_by_net_the_credits_are_those_of_the_view_that_tells_them_and_lower_it_by_no_more(world: World) -> None:
    metrics, explorer = world.views
    metrics.shows(date(2026, 11, 2), "650")
    explorer.shows(date(2026, 11, 2), "600")
    explorer.shows(date(2026, 11, 2), "-200", charge_category=CREDIT)
    world.budgets = [budget(basis=Basis.NET), budget(name="gross")]
    world.turn()
    net, gross = world.facts["budgets"]
    assert (net["spend"], net["counted"]) == ("450", ["metrics"])
    assert (gross["spend"], gross["counted"], gross["net"]) == ("650", ["metrics"], "450")
    # The one that tells credits may be locked out: the other goes on rising.
    explorer.error = AccessError("no more")
    metrics.shows(date(2026, 11, 3), "300")
    assert world.turn()["spend"] == "750"


def test_a_first_credit_in_the_later_view_lowers_the_figure_by_itself_alone(world: World) -> None:
    metrics, explorer = world.views
    metrics.shows(date(2026, 11, 2), "1000")
    explorer.shows(date(2026, 11, 2), "900")
    world.budgets = [budget(basis=Basis.NET)]
    assert world.turn()["spend"] == "1000"
    explorer.shows(date(2026, 11, 2), "-1", charge_category=CREDIT)
    assert world.turn()["spend"] == "999"


@pytest.mark.parametrize("by", ["source", "day"])
def test_spend_counts_the_higher_view_and_the_credits_once(world: World, by: str) -> None:
    metrics, explorer = world.views
    metrics.shows(date(2026, 11, 2), "1000")
    explorer.shows(date(2026, 11, 2), "900")
    explorer.shows(date(2026, 11, 2), "-200", charge_category=CREDIT)
    metrics.shows(date(2026, 11, 2), "-150", charge_category=CREDIT)
    world.turn()
    (totals,) = world.spend(by)[0]["totals"]
    assert (totals["billed"], totals["credits"], totals["net"]) == ("1000", "-200", "800")


def test_spend_shows_gross_credits_and_net(alone: World) -> None:
    alone.turn()
    document, table = alone.spend("service")
    rows = {row["key"]: (row["billed"], row["credits"], row["net"]) for row in document["rows"]}
    assert rows == {"EC2": ("600", "-200.25", "399.75"), "Tax": ("60.5", "0", "60.5")}
    assert document["totals"] == [
        {"currency": "USD", "billed": "660.5", "accrued": "0", "credits": "-200.25", "net": "460.25"}
    ]
    assert table.splitlines()[2].split() == ["SERVICE", "BILLED", "CREDITS", "NET", "AGE"]
    assert table.splitlines()[-1].split() == ["total", "660.50", "USD", "-200.25", "460.25"]
    assert max(map(len, table.splitlines())) <= 80


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("region", {"us-east-1": "600", "eu-west-1": "7", "(unattributed)": "60.5"}),
        ("run", {"llama": "7", "(untagged)": "660.5"}),
        ("tag:team", {"research": "7", "(untagged)": "660.5"}),
        ("account", {"111122223333": "7", "(unattributed)": "660.5"}),
    ],
)
def test_spend_groups_by_what_a_series_says(alone: World, by: str, keys: dict[str, str]) -> None:
    (explorer,) = alone.views
    tagged = {"run": "llama", "tags": (("team", "research"),), "account": "111122223333"}
    explorer.shows(date(2026, 11, 3), "7", service="EC2", region="eu-west-1", charge_category="Usage", **tagged)
    alone.turn()
    assert {row["key"]: row["billed"] for row in alone.spend(by)[0]["rows"]} == keys


def test_spend_adds_no_two_views_and_by_source_shows_both(world: World) -> None:
    metrics, explorer = world.views
    metrics.shows(date(2026, 11, 2), "600")
    explorer.shows(date(2026, 11, 2), "590", service="EC2")
    explorer.shows(date(2026, 11, 3), "30", service="EC2")
    world.turn()
    document, table = world.spend("source")
    assert [(row["key"], row["billed"], row.get("counted_instead")) for row in document["rows"]] == [
        ("explorer", "620", None),
        ("metrics", "600", "explorer"),
    ]
    assert [total["billed"] for total in document["totals"]] == ["620"]
    assert table.splitlines()[-1] == "metrics shows the same bill as explorer, which counts: they are never added."
    document, _ = world.spend("service")
    assert [(row["key"], row["billed"]) for row in document["rows"]] == [("EC2", "620")]
