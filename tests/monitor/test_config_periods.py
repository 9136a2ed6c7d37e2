"""The config of periods, forecasts and burn rates: what is read, and what a person is told. HERE marks the line."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from alarms.model import Period
from monitor import check_config
from monitor.billing_months import BillingMonths, InvoiceCalendar
from monitor.config import load
from monitor.errors import ConfigError
from monitor.period import PeriodKind

DECEMBER = Period(datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 15, tzinfo=UTC))
SOURCE = '[[sources]]\nname = "aws"\ntype = "aws_cloudwatch"\n'
RATE = 'over = ["6h", "24h"], severity = "critical"'


def written(directory: Path, *lines: str) -> Path:
    path = directory / "config.toml"
    head = f'{SOURCE}[[budgets]]\nname = "training"\namount = "1000"\ncurrency = "USD"\n'
    path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def thresholds(*listed: str) -> str:
    return "thresholds = [\n" + "".join(f"{{ {one} }},\n" for one in listed) + "]"


@pytest.mark.parametrize("kind", PeriodKind)
def test_every_kind_of_period_is_read(tmp_path: Path, kind: PeriodKind) -> None:
    (budget,) = load(written(tmp_path, f'period = "{kind}"')).budgets
    assert budget.period is kind


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-12-01", "2026-12-15"),
        ("2026-12-01T00:00:00Z", "2026-12-15"),
        ("2026-12-01T01:00:00+01:00", "2026-12-14T19:00:00-05:00"),
    ],
)
def test_fixed_dates_are_utc_days_and_the_end_does_not_count(tmp_path: Path, start: str, end: str) -> None:
    (budget,) = load(written(tmp_path, f"start = {start}", f"end = {end}")).budgets
    assert budget.period == DECEMBER


def test_forecast_and_burn_rate_are_read(tmp_path: Path) -> None:
    listed = thresholds('on = "forecast", at = "100%", severity = "warning"', f'on = "burn_rate", at = 2.0, {RATE}')
    forecast, rate = load(written(tmp_path, listed)).budgets[0].thresholds
    assert (forecast.on, forecast.at.percent, forecast.over) == ("forecast", 100, ())
    assert (rate.on, rate.at.text, rate.at.of(Decimal(1000))) == ("burn_rate", "2.0", Decimal(2))
    assert rate.over == (timedelta(hours=6), timedelta(hours=24))


@pytest.mark.parametrize(
    ("lines", "path", "sentence"),
    [
        (["start = 2026-12-01 # HERE"], "end", "missing; a budget with a date for its start needs end = … too"),
        (["end = 2026-12-01 # HERE"], "start", "missing; a budget with a date for its end needs start = … too"),
        (
            ["start = 2026-12-15", "end = 2026-12-15 # HERE"],
            "end",
            "is not after start; the end is the first day that does not count any more",
        ),
        (
            ['period = "month" # HERE', "start = 2026-12-01", "end = 2026-12-15"],
            "period",
            "a budget from start to end has no period beside them; remove one or the other",
        ),
        (
            ['start = "2026-12-01" # HERE', "end = 2026-12-15"],
            "start",
            "expected a date without quotes, such as 2026-12-01",
        ),
        (
            ["start = 2026-12-01T00:00:00 # HERE", "end = 2026-12-15"],
            "start",
            "has no time zone; write the date alone, 2026-12-01, which begins in UTC",
        ),
        (
            ["start = 2026-12-01T12:00:00Z # HERE", "end = 2026-12-15"],
            "start",
            "charges are counted by UTC day; write the date alone, such as 2026-12-01",
        ),
        (["start = 1969-12-31 # HERE", "end = 2026-12-15"], "start", "expected a date from 1970-01-01 on"),
        (["start = true # HERE", "end = 2026-12-15"], "start", "expected a date without quotes, such as 2026-12-01"),
    ],
)
def test_dates_that_cannot_be(tmp_path: Path, lines: list[str], path: str, sentence: str) -> None:
    found = problems(written(tmp_path, *lines))
    assert found[0][1:] == (f"budgets[0].{path}", sentence)
    assert len(found) == 1
    if "missing" not in sentence:
        assert found[0][0] == 8 + next(n for n, line in enumerate(lines) if "HERE" in line)


@pytest.mark.parametrize(
    ("one", "path", "sentence"),
    [
        (f'on = "burn_rate", at = "2.0", {RATE}', "at", "expected a number without quotes, such as at = 2.0"),
        (f'on = "burn_rate", at = "200%", {RATE}', "at", "expected a number without quotes, such as at = 2.0"),
        (f'on = "burn_rate", at = true, {RATE}', "at", "expected a number without quotes, such as at = 2.0"),
        (f'on = "burn_rate", at = 0, {RATE}', "at", "expected more than 0 and at most 1000, not 0"),
        (f'on = "burn_rate", at = 1001, {RATE}', "at", "expected more than 0 and at most 1000, not 1001"),
        ('on = "forecast", at = 2.0, severity = "warning"', "at", "expected a percentage of the budget"),
        ('on = "forecast", at = "9 EUR", severity = "warning"', "at", "is in EUR, but the budget is in USD"),
        ('on = "burn_rate", at = 2.0, severity = "warning"', "over", 'missing; add over = ["6h", "24h"]'),
        (
            'on = "forecast", at = "90%", over = ["6h"], severity = "warning"',
            "over",
            'only on = "burn_rate" has windows',
        ),
        ('at = "90%", over = ["6h"], severity = "warning"', "over", 'only on = "burn_rate" has'),
        ('on = "burn_rate", at = 2, over = [], severity = "warning"', "over", "expected one to three windows"),
        ('on = "burn_rate", at = 2, over = "6h", severity = "warning"', "over", "expected one to three windows"),
        ('on = "burn_rate", at = 2, over = ["6h", "6h"], severity = "warning"', "over", "has the same window twice"),
        ('on = "burn_rate", at = 2, over = ["360m", "6h"], severity = "warning"', "over", "has the same window twice"),
        (
            'on = "burn_rate", at = 2, over = ["6h", "7h", "8h", "9h"], severity = "warning"',
            "over",
            "expected one to three windows",
        ),
        ('on = "burn_rate", at = 2, over = [6], severity = "warning"', "over", "expected a duration such as"),
        (
            'on = "burn_rate", at = 2, over = ["1h", "24h"], severity = "warning"',
            "over[0]",
            'is shorter than the 6h that the source "aws" may take to publish its next figure; write "6h" or more',
        ),
        (
            'on = "burn_rate", at = 2, over = ["6h", "40d"], severity = "warning"',
            "over[1]",
            'is longer than a period of this budget; write at most "672h"',
        ),
        (
            'on = "burn_rat", at = 2, over = ["6h"], severity = "warning"',
            "on",
            'expected "actual", "forecast", "burn_rate", "plan" or',
        ),
    ],
)
def test_thresholds_that_cannot_be(tmp_path: Path, one: str, path: str, sentence: str) -> None:
    found = problems(written(tmp_path, thresholds(one)))
    assert (9, f"budgets[0].thresholds[0].{path}") in [(line, where) for line, where, _ in found]
    assert any(message.startswith(sentence) for _, _, message in found)
    assert len(found) == (2 if path == "on" else 1)  # what `on` is decides what `at` may be


def test_order_and_repetition_are_judged_for_each_thing_that_is_compared(tmp_path: Path) -> None:
    fine = thresholds(
        'on = "forecast", at = "120%", severity = "warning"',
        'at = "100%", severity = "critical"',
        f'on = "burn_rate", at = 2, {RATE}',
    )
    assert len(load(written(tmp_path, fine)).budgets[0].thresholds) == 3
    reversed_ = thresholds(
        f'on = "burn_rate", at = 2, {RATE}', 'on = "burn_rate", at = 3, over = ["6h"], severity = "warning"'
    )
    ((line, _, message),) = problems(written(tmp_path, reversed_))
    assert line == 10
    assert message.startswith("the order is reversed: this warning at 3 comes after critical at 2")
    twice = thresholds(
        f'on = "burn_rate", at = 2, {RATE}', 'on = "burn_rate", at = 2.0, over = ["7h"], severity = "critical"'
    )
    ((line, _, message),) = problems(written(tmp_path, twice))
    assert (line, message) == (10, "says the same as the threshold on line 9; keep one")


def test_check_config_says_what_will_be_watched(tmp_path: Path) -> None:
    listed = thresholds('on = "forecast", at = "100%", severity = "warning"', f'on = "burn_rate", at = 2.0, {RATE}')
    path = written(tmp_path, "start = 2026-12-01", "end = 2026-12-15", listed)
    out = io.StringIO()
    assert check_config.run(path, live=False, as_json=False, out=out) == 0
    assert "1000 USD from 1 Dec 2026 until 15 Dec 2026: warning at forecast 100%, " in out.getvalue()
    assert "100%, critical at burn rate 2.0 over 6h and 24h" in out.getvalue()
    out = io.StringIO()
    check_config.run(path, live=False, as_json=True, out=out)
    (budget,) = json.loads(out.getvalue())["budgets"]
    assert budget["period"] == {"start": "2026-12-01T00:00:00Z", "end": "2026-12-15T00:00:00Z"}


def problems(path: Path) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [(problem.line, problem.path, problem.message) for problem in caught.value.problems]


GCP = """[[sources]]
name = "gcp"
type = "gcp_billing_export"
table = "proj.billing.gcp_billing_export_v1_0123AB_4567CD_89EF01"
"""
AZURE = """[[sources]]
name = "azure"
type = "azure_cost"
scope = "/subscriptions/00000000-0000-0000-0000-000000000000"
billing_period_starts = 16
"""
INVOICE = 'calendar = "billing"'


@pytest.mark.parametrize(
    ("source", "period", "months", "count"),
    [
        ("aws", "month", BillingMonths(), 1),
        ("gcp", "quarter", BillingMonths(zone="America/Los_Angeles"), 3),
        ("azure", "year", BillingMonths(first_day=16), 12),
    ],
)
def test_a_budget_follows_the_invoices_of_its_source(
    tmp_path: Path, source: str, period: str, months: BillingMonths, count: int
) -> None:
    lines = [INVOICE, f'period = "{period}"', f'scope = {{ source = "{source}" }}', GCP, AZURE]
    path = written(tmp_path, *lines)
    assert load(path).budgets[0].period == InvoiceCalendar(months, count)
    out = io.StringIO()
    assert check_config.run(path, live=False, as_json=False, out=out) == 0
    assert f"a {period} by invoice, {months}" in out.getvalue()


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([INVOICE + " # HERE", 'period = "day"'], 'needs period = "month", "quarter" or "year"'),
        (
            [INVOICE + " # HERE", "start = 2026-12-01", "end = 2026-12-15"],
            'needs period = "month", "quarter" or "year"',
        ),
        (
            [INVOICE + " # HERE", GCP],
            "different months (aws from the 1st, gcp from the 1st (America/Los_Angeles)); name one of them",
        ),
    ],
)
def test_invoices_that_cannot_be_followed(tmp_path: Path, lines: list[str], sentence: str) -> None:
    path = written(tmp_path, *lines)
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "HERE" in text)
    ((at, where, said),) = problems(path)
    assert (at, where) == (line, "budgets[0].calendar")
    assert sentence in said
