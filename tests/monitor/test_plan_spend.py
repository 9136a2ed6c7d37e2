"""What is left for a plan is counted as the alarms of its budget count: credits, views of one bill, and runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from alarms.model import Period
from monitor.billing_months import BillingMonths, InvoiceCalendar
from monitor.config.model import BudgetConfig, Config, MonitorSection
from monitor.model import CREDIT, Basis, Batch, Charge, Scope, Series
from monitor.period import Calendar, PeriodKind, Run
from monitor.plan_spend import booked
from monitor.store import facts
from monitor.store.charges import replace as put
from monitor.store.database import open_store
from monitor.store.facts import SourceClock

START = datetime(2026, 12, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DECEMBER = Period(START, datetime(2027, 1, 1, tzinfo=UTC))
NOW = START + 72 * HOUR
EVERYTHING = Scope()


@dataclass(frozen=True)
class Settings:
    name: str
    bill: str
    currency: str = "USD"


def ledger(directory: Path, rows: list[tuple[Series, str, int]], ends: dict[str, int]) -> Path:
    """Charges of an hour, so many hours after the start; where the data of each source ends."""
    with open_store(directory / "state") as store, store.transaction() as tx:
        for series, cost, hours in rows:
            period = Period(START + hours * HOUR, START + (hours + 1) * HOUR)
            batch = Batch((Charge(series, period, Decimal(cost)),), {series: period}, data_as_of=period.end)
            put(tx, series.source, batch, NOW)
        for name, hours in ends.items():
            facts.write_clock(tx, replace(SourceClock(name), data_as_of=START + hours * HOUR))
    return directory / "state"


def config(*sources: Settings, calendar: Calendar = PeriodKind.MONTH, scope: Scope = EVERYTHING) -> Config:
    budget = BudgetConfig("b", Decimal(1000), "USD", calendar, scope, None, (), (), {})
    monitor = MonitorSection(Path("state"), timedelta(minutes=5), "UTC", ())
    return Config(Path("config.toml"), monitor, sources, (), (budget,))  # type: ignore[arg-type]


USAGE = Series("aws", "USD", charge_category="Usage")
REFUND = Series("aws", "USD", charge_category=CREDIT)


@pytest.mark.parametrize(("basis", "spent"), [(Basis.GROSS, "100"), (Basis.NET, "70")])
def test_credits_count_as_the_budget_says(tmp_path: Path, basis: Basis, spent: str) -> None:
    state = ledger(tmp_path, [(USAGE, "100", 1), (REFUND, "-30", 1)], {"aws": 40})
    ours = config(Settings("aws", "payer"))
    found = booked(ours, replace(ours.budgets[0], basis=basis), state, START, NOW)
    assert (found.spent(DECEMBER), found.until) == (Decimal(spent), START + 40 * HOUR)
    assert found.spent(Period(DECEMBER.end, DECEMBER.end + HOUR)) == 0


def test_two_views_of_one_bill_are_not_added(tmp_path: Path) -> None:
    rows = [(USAGE, "100", 1), (replace(USAGE, source="explorer"), "104", 1), (replace(USAGE, source="other"), "1", 1)]
    state = ledger(tmp_path, rows, {"aws": 40, "explorer": 20, "other": 30})
    ours = config(Settings("aws", "payer"), Settings("explorer", "payer"), Settings("other", "other"))
    found = booked(ours, ours.budgets[0], state, START, NOW)
    assert (found.spent(DECEMBER), found.until) == (Decimal(105), START + 20 * HOUR)


def test_a_run_has_all_of_its_charges_whatever_the_period(tmp_path: Path) -> None:
    mine = replace(USAGE, run="x")
    state = ledger(tmp_path, [(mine, "5", -400), (USAGE, "100", 1), (mine, "7", 1)], {"aws": 40})
    run = config(Settings("aws", "payer"), calendar=Run(START, by_charges=True), scope=Scope(run=("x",)))
    assert booked(run, run.budgets[0], state, START, NOW).spent(DECEMBER) == 12
    month = config(Settings("aws", "payer"), scope=Scope(run=("x",)))
    assert booked(month, month.budgets[0], state, START, NOW).spent(DECEMBER) == 7


def test_a_source_that_has_told_nothing_leaves_all_of_the_plan_to_come(tmp_path: Path) -> None:
    state = ledger(tmp_path, [(USAGE, "100", 1)], {"aws": 40})
    ours = config(Settings("aws", "payer"), Settings("gcp", "gcp"))
    assert booked(ours, ours.budgets[0], state, START, NOW).until is None
    assert booked(ours, ours.budgets[0], tmp_path / "nowhere", START, NOW).until is None


def test_what_follows_invoices_is_counted_by_invoice(tmp_path: Path) -> None:
    pacific = InvoiceCalendar(BillingMonths(zone="America/Los_Angeles"), 1)
    december = pacific.period_of(START + 24 * HOUR)
    late = replace(USAGE, billing_period="2026-12-01")
    november = replace(USAGE, billing_period="2026-11-01")
    # On the 1st in UTC, but after midnight in California; before it; used in November and invoiced in December.
    state = ledger(tmp_path, [(USAGE, "700", 9), (november, "30", 2), (late, "50", -30)], {"aws": 40})
    ours = config(Settings("aws", "payer"), calendar=pacific)
    assert booked(ours, ours.budgets[0], state, december.start, NOW).spent(december) == 750
