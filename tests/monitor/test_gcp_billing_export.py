"""The GCP source through the real client, against a BigQuery that executes its query; truth is added up apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alarms.model import Period
from monitor.errors import BadDataError, OutsideError, PermanentError, TemporaryError
from monitor.model import CREDIT, ApiUse
from monitor.period import month_of
from monitor.simulation.billing_export import PACIFIC, ExportLine
from monitor.simulation.gcp import Call, RefusedError
from monitor.sources.gcp_billing_export import Settings
from monitor.store.database import open_store
from tests.fakes.gcp_stage import TABLE, Books, Stage, at, line, stage_of

NOW = at("11-23T18")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_of(tmp_path_factory.mktemp("gcp")) as made:
        yield made


@pytest.fixture
def stage(world: Stage) -> Iterator[Stage]:
    yield world
    world.bigquery.execute(TABLE, "DELETE FROM {table}")
    world.bigquery.page_rows, world.bigquery.weight = 100_000, 1
    world.bigquery.expiration_ms = world.bigquery.made_at = None
    world.cloud.always = None
    world.cloud.calls.clear()


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    with open_store(tmp_path / "state") as store:
        yield Books(store)


def month(text: str) -> Period:
    return month_of(at(f"{text}-01T00"))


def gross(lines: Iterable[ExportLine]) -> Decimal:
    return sum((Decimal(str(one.cost)) for one in lines), Decimal(0))


def credits_of(lines: Iterable[ExportLine]) -> Decimal:
    return sum((Decimal(str(amount)) for one in lines for amount in one.credits or ()), Decimal(0))


RUN = {"training-run": "r1"}
# What real exports hold, and what they are known to be read wrongly for.
LINES = [
    line("11-02T00", "100.1", labels=RUN, credits=("-10.1", "-5")),
    line("11-03T00", "200.2", labels=RUN | {"team": "ml"}),
    line("11-03T00", "7", credits=None),
    line("11-03T01", "0.3", service="Cloud Storage", credits=("-0.3",)),
    line("11-01T09", "-4", end="11-01T09", project=None, cost_type="adjustment"),
    line("11-20T00", "12.34", end="11-20T00", project=None, service="Invoice", cost_type="tax", region=None),
    line("11-20T00", "0.01", end="11-20T00", project=None, service="Invoice", cost_type="rounding_error", region=None),
    # Usage of October that is exported in November, and of the 1st (UTC) that is October in California.
    line("10-31T23", "1000", labels=RUN),
    line("11-01T03", "50", labels=RUN),
    # Usage of October on November's invoice.
    line("10-30T10", "0.5", invoice="202611", exported_at="11-05T00"),
    line("11-04T00", "1e-7"),
    line("11-04T01", "0.1", project="infer", project_labels={"training-run": "r2"}),
    line("11-04T02", "0.2", project="infer", project_labels={"training-run": "r2"}, labels=RUN),
]


def test_every_figure_equals_what_is_added_up_apart(stage: Stage, books: Books) -> None:
    stage.load(*LINES)
    books.read(stage.source(), NOW)
    # Added up by hand: 100.1 + 200.2 + 7 + 0.3 - 4 + 12.34 + 0.01 + 1000 + 50 + 0.5 + 1e-7 + 0.1 + 0.2
    assert books.total() == Decimal("1366.7500001") - Decimal("15.4")
    assert books.totals("charge_category") == {
        "Usage": Decimal("1358.4000001"),
        CREDIT: Decimal("-15.4"),
        "Tax": Decimal("12.34"),
        "Adjustment": Decimal("-3.99"),
    }
    assert books.totals("account") == {
        "train": Decimal("1342.7000001"),
        "infer": Decimal("0.3"),
        "": Decimal("8.35"),
    }
    assert books.totals("run") == {
        "r1": Decimal("1335.4"),
        "r2": Decimal("0.1"),
        "": Decimal("15.8500001"),
    }
    assert books.totals("service") == {
        "Compute Engine": Decimal("1339.0000001"),
        "Invoice": Decimal("12.35"),
    }
    # By the UTC day of the usage, and by the invoice.
    assert books.total(month("2026-10")) == Decimal("1000.5")
    assert books.totals("billing_period", period=month("2026-10")) == {"": Decimal(1000), "2026-11-01": Decimal("0.5")}
    assert books.totals("billing_period", period=month("2026-11"))["2026-10-01"] == 50


def test_several_credits_on_a_line_count_its_cost_once(stage: Stage, books: Books) -> None:
    stage.load(line("11-03T00", "100", credits=("-1", "-2", "-3", "-4")), line("11-03T01", "5", credits=()))
    books.read(stage.source(), NOW)
    assert books.totals("charge_category") == {"Usage": Decimal(105), CREDIT: Decimal(-10)}


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ([], {("", "", "", "")}),
        (["account"], {("train", "", "", ""), ("infer", "", "", ""), ("", "", "", "")}),
        (["region"], {("", "", "us-central1", ""), ("", "", "global", "")}),
        (
            ["service", "run"],
            {("", s, "", r) for s in ("Compute Engine",) for r in ("r1", "r2", "")}
            | {("", "Cloud Storage", "", ""), ("", "Invoice", "", "")},
        ),
    ],
)
def test_only_what_by_says_is_told_apart(stage: Stage, books: Books, by: list[str], keys: set[Any]) -> None:
    stage.load(*LINES, line("11-04T00", "1", service="Cloud Storage"))
    books.read(stage.source(by=by), NOW)
    assert books.totals("account", "service", "region", "run").keys() == keys
    assert books.total() == gross(LINES) + credits_of(LINES) + 1
    for column in ("project.id", "location", "labels"):
        wanted = {"project.id": "account", "location": "region", "labels": "run"}[column] in by
        assert (column in stage.bigquery.queries[-1]) == wanted, "a column that is not needed is not paid for"


def test_tags_are_kept_and_a_value_is_the_resources_before_the_projects(stage: Stage, books: Books) -> None:
    both = {"team": "of-the-project", "env": "prod"}
    stage.load(
        line("11-03T00", "1", labels={"team": "o'brien`; DROP"}, project_labels=both),
        line("11-03T00", "2", project_labels=both),
        line("11-03T00", "4"),
    )
    books.read(stage.source(tags=["team", "env"]), NOW)
    assert books.totals("tags") == {
        (("env", "prod"), ("team", "o'brien`; DROP")): Decimal(1),
        (("env", "prod"), ("team", "of-the-project")): Decimal(2),
        (): Decimal(4),
    }


def test_an_amount_is_exact_whatever_its_size(stage: Stage, books: Books) -> None:
    amounts = ["0.1", "0.2", "1e-15", "123456789.123456", "-0.3", "0.000001234567", "999999999999"]
    stage.load(*(line("11-03T00", amount) for amount in amounts * 10))
    books.read(stage.source(), NOW)
    assert books.total() == sum(Decimal(amount) for amount in amounts) * 10


def test_a_charge_ends_where_its_usage_ends_on_that_day(stage: Stage) -> None:
    stage.load(line("11-03T05", "1"), line("11-03T07", "1"), line("11-04T20", "1", end="11-05T09"))
    (window,) = stage.source(backfill="1d").windows(NOW, {}, None)
    periods = [charge.period for charge in stage.source().fetch(window).charges]
    assert periods == [Period(at("11-03T00"), at("11-03T08")), Period(at("11-04T00"), at("11-05T00"))]


def test_data_is_as_new_as_the_newest_usage_that_was_published(stage: Stage) -> None:
    stage.load(
        line("11-20T00", "1", exported_at="11-20T09"),
        # A fee for the whole month says nothing of usage that is not over.
        line("11-19T00", "1", end="11-30T00", exported_at="11-19T12"),
        line("11-23T12", "1", end="11-23T12", cost_type="tax", exported_at="11-23T13"),
    )
    source = stage.source()
    assert source.fetch(source.windows(NOW, {}, None)[0]).data_as_of == at("11-20T01")


def test_an_export_without_lines_is_missing_and_not_zero(stage: Stage) -> None:
    source = stage.source()
    batch = source.fetch(source.windows(NOW, {}, None)[0])
    assert (batch.charges, batch.replaces, batch.whole, batch.data_as_of) == ((), {}, None, None)


def test_lines_that_come_late_to_both_months_are_found(stage: Stage, books: Books) -> None:
    stage.load(*LINES)
    source = stage.source()
    books.read(source, NOW)
    before = books.total()
    late = [
        line("10-02T00", "3", loaded="11-24T00", exported_at="11-24T00"),
        line("11-02T00", "4", labels=RUN, loaded="11-24T00", exported_at="11-24T00"),
        # Corrected long after its month was closed: it is on the open invoice, and counts from its first day on.
        line("07-15T00", "-2", invoice="202611", loaded="11-24T00", exported_at="11-24T00"),
    ]
    stage.load(*late)
    books.read(source, NOW + DAY)
    assert books.total() == before + 5
    assert books.by_day()["2026-11-01"] == 50 - 4 - 2


def test_lines_that_are_exported_anew_or_labelled_anew_replace_the_old(stage: Stage, books: Books) -> None:
    stage.load(*LINES)
    source = stage.source()
    books.read(source, NOW)
    before = books.total()
    stage.bigquery.execute(TABLE, "UPDATE {table} SET labels = [{{'key': 'training-run', 'value': 'r9'}}]")
    stage.load(line("11-21T00", "0"))  # so that it has changed
    books.read(source, NOW + HOUR)
    assert books.total() == before
    assert books.totals("run") == {"r9": before}


def test_what_an_export_has_lost_at_its_beginning_stays_booked(stage: Stage, books: Books) -> None:
    stage.load(line("10-05T00", "10"), line("11-05T00", "20"))
    source = stage.source()
    books.read(source, NOW)
    stage.bigquery.execute(TABLE, "DELETE FROM {table}")
    stage.load(line("11-22T12", "1", exported_at="11-22T20"))
    books.read(source, NOW + HOUR)
    assert books.by_day() == {"2026-10-05": 10, "2026-11-05": 20, "2026-11-22": 1}


def october() -> list[ExportLine]:
    """A line a day, and late ones of the 5th, which were loaded on the 15th."""
    days = [line(at("10-01T00") + day * DAY, "10") for day in range(31)]
    return [*days, line("10-05T03", "0.5", exported_at="10-15T00")]


def test_what_expires_in_the_table_stays_booked(stage: Stage, books: Books) -> None:
    stage.load(*october())
    source = stage.source(backfill="60d")
    books.read(source, at("11-01T18"))
    assert books.total() == Decimal("310.5")
    for hours in range(0, 10 * 24, 24):
        now = at("11-10T18") + hours * HOUR
        stage.bigquery.expiration_ms = 30 * 24 * 3600 * 1000
        gone = f"_PARTITIONTIME <= '{(now - 30 * DAY).isoformat()}'::TIMESTAMPTZ"
        stage.bigquery.execute(TABLE, f"DELETE FROM {{table}} WHERE {gone}")  # noqa: S608 - an instant of ours
        stage.load(line(now - DAY, "1"))
        books.read(source, now)
        assert books.total(month("2026-10")) == Decimal("310.5")
    assert books.total(month("2026-11")) == 10


@pytest.mark.parametrize("made", [None, "10-01T00", "11-26T01"])
def test_after_a_pause_a_day_that_grows_is_read_although_all_before_it_has_expired(
    stage: Stage, books: Books, made: str | None
) -> None:
    stage.bigquery.expiration_ms = 20 * 24 * 3600 * 1000
    stage.bigquery.made_at = at(made) if made else None
    stage.load(*(line(f"11-0{day}T00", "1") for day in (1, 2, 3)))
    source = stage.source(backfill="1d")
    books.read(source, at("11-03T12"))
    stage.bigquery.execute(TABLE, "DELETE FROM {table}")
    for now, cost in (("11-26T06", "5"), ("11-26T12", "50"), ("11-26T20", "500"), ("11-27T12", "7")):
        stage.load(line(at(now) - 2 * HOUR, cost))
        books.read(source, at(now))
    # In a table that was made on that day it may be there in part alone.
    grown = 5 if made == "11-26T01" else 555
    assert books.by_day() == {"2026-11-01": 1, "2026-11-02": 1, "2026-11-03": 1, "2026-11-26": grown, "2026-11-27": 7}


def test_late_lines_of_a_day_that_has_expired_in_part_are_no_day(stage: Stage, books: Books) -> None:
    stage.bigquery.expiration_ms = 30 * 24 * 3600 * 1000
    stage.load(line("10-05T03", "0.5", exported_at="11-15T00"), line("10-24T00", "2"), line("10-26T00", "3"))
    (batch, *past) = books.read(stage.source(backfill="60d"), NOW)
    assert batch.whole == Period(at("10-26T00"), NOW + timedelta(seconds=1))
    assert [one.charges for one in past] == [()], "what is further back is gone, and not asked for"
    assert (stage.paths.count("POST jobs"), books.by_day()) == (2, {"2026-10-26": 3})


@pytest.mark.parametrize("most", [1, 100_000])
def test_a_table_that_has_lost_its_first_days_is_not_believed_from_a_day_in_part(
    stage: Stage, books: Books, most: int
) -> None:
    stage.load(*october(), line("11-22T12", "1"))
    source = stage.source(most=most)
    books.read(source, NOW)
    stage.bigquery.execute(TABLE, "DELETE FROM {table} WHERE usage_start_time < '2026-10-12' AND cost != 0.5")
    for hours in (1, 2):
        stage.load(line("11-22T12", "1"))
        books.read(source, NOW + hours * HOUR)
        assert books.by_day()["2026-10-05"] == Decimal("10.5")
        assert books.by_day()["2026-11-22"] == 1 + hours


def test_a_table_made_anew_says_nothing_of_the_day_of_its_making(stage: Stage, books: Books) -> None:
    stage.load(line("11-20T00", "5"), line("11-21T00", "10"), line("11-22T00", "20"), line("11-23T00", "40"))
    source = stage.source()
    books.read(source, NOW)
    stage.bigquery.execute(TABLE, "DELETE FROM {table}")
    stage.bigquery.made_at = at("11-23T12")
    stage.load(line("11-21T03", "0.5", exported_at="11-23T14"), line("11-23T14", "1"))
    (batch,) = books.read(source, NOW + 5 * HOUR)
    assert (batch.charges, batch.data_as_of) == ((), None), "old figures are not told as new ones"
    before = {"2026-11-20": 5, "2026-11-21": 10, "2026-11-22": 20, "2026-11-23": 40}
    assert books.by_day() == before
    stage.load(line("11-24T01", "7"))
    books.read(source, NOW + 18 * HOUR)
    assert books.by_day() == before | {"2026-11-24": 7}


@pytest.mark.parametrize("most", [1, 100_000])
def test_an_answer_without_most_of_a_months_days_is_refused(stage: Stage, books: Books, most: int) -> None:
    stage.load(*october(), *(line(at("11-01T00") + day * DAY, "1") for day in range(22)))
    source = stage.source(most=most)
    books.read(source, NOW)
    assert books.total() == Decimal("332.5")
    stage.bigquery.execute(
        TABLE, "DELETE FROM {table} WHERE usage_start_time >= '2026-10-11' AND usage_start_time < '2026-11-01'"
    )
    stage.load(line("11-22T12", "1"))
    with pytest.raises(BadDataError, match="shows costs on 10 days of 2026-10, where it had shown 31: rows were lost"):
        books.read(source, NOW + HOUR)
    assert books.total() == Decimal("332.5")
    stage.bigquery.execute(TABLE, "DELETE FROM {table} WHERE usage_start_time >= '2026-11-01'")
    stage.load(*(line(one.start, "10") for one in october()[10:31]), line("11-22T13", "0"))
    with pytest.raises(BadDataError, match="on 0 days of 2026-11, where it had shown 22"):
        books.read(source, NOW + 2 * HOUR)
    assert books.total(month("2026-11")) == 22


def test_a_month_whose_few_days_are_taken_back_by_further_lines_is_no_loss(stage: Stage, books: Books) -> None:
    stage.load(line("10-05T00", "10"), line("11-22T00", "1"))
    source = stage.source()
    books.read(source, NOW)
    stage.load(line("10-05T00", "-10"), line("11-22T00", "5"))
    books.read(source, NOW + HOUR)
    assert books.by_day() == {"2026-11-22": 6}


@pytest.fixture(scope="module")
def second(world: Stage) -> str:
    name = TABLE.replace("export_v1", "export_resource_v1")
    world.bigquery.create_table(name)
    return name


@pytest.fixture
def detailed(stage: Stage, second: str) -> Iterator[str]:
    """Another table of the same bill."""
    yield second
    stage.bigquery.execute(second, "DELETE FROM {table}")


def daily(first: str, days: int, cost: str = "10") -> list[ExportLine]:
    return [line(at(first) + day * DAY, cost) for day in range(days)]


@pytest.mark.parametrize("late", [None, "10-01T00", "11-01T00", "11-20T00"])
@pytest.mark.parametrize(("made", "most"), [(None, 100_000), ("11-24T12", 100_000), ("11-24T12", 9)])
def test_another_table_under_the_same_name_counts_from_its_first_whole_day_on(
    stage: Stage, books: Books, detailed: str, late: str | None, made: str | None, most: int
) -> None:
    stage.load(*daily("10-01T00", 58))
    books.read(stage.source(most=most), at("11-28T12"))
    stage.bigquery.made_at = at(made) if made else None
    # It was switched on on the 24th; what is late is in it as well.
    stage.bigquery.load(detailed, [line("11-24T12", "4"), *daily("11-25T00", 4, "11")])
    if late:
        stage.bigquery.load(detailed, [line(late, "0.5", invoice="202611", exported_at="11-25T00")])
    for now in ("11-28T18", "11-29T18", "12-02T18", "12-12T18"):
        stage.bigquery.load(detailed, [line(at(now) - 4 * HOUR, "1")])
        books.read(stage.source(table=detailed, most=most), at(now))
    october, november = daily("10-01T00", 31), daily("11-01T00", 24)
    kept = {f"{one.start:%Y-%m-%d}": 10 for one in [*october, *november]}
    # Who does not know when it was made believes it from after the last day that the other one has told of.
    grown = {f"2026-11-{day}": 11 if made else 10 for day in (25, 26, 27)} | {"2026-11-28": 12}
    assert books.by_day() == kept | grown | {"2026-11-29": 1, "2026-12-02": 1, "2026-12-12": 1}


@pytest.mark.parametrize(("made", "most"), [(None, 100_000), ("11-24T12", 9), ("01-01T00", 100_000)])
def test_another_table_that_reaches_as_far_back_counts_at_once(
    stage: Stage, books: Books, detailed: str, made: str | None, most: int
) -> None:
    stage.load(*daily("10-01T00", 58))
    books.read(stage.source(most=most), at("11-28T12"))
    stage.bigquery.made_at = at(made) if made else None
    stage.bigquery.load(detailed, daily("10-01T00", 58, "11"))
    for hours in (1, 2):
        books.read(stage.source(table=detailed, most=most), at("11-28T12") + hours * HOUR)
        assert set(books.by_day().values()) == {11}
        assert books.total() == 58 * 11
        stage.bigquery.load(detailed, [line("11-27T00", "0")])
    # And back again.
    stage.load(line("11-27T00", "0"))
    books.read(stage.source(most=most), at("11-28T18"))
    assert books.total() == 580


def test_another_table_that_lacks_a_month_which_was_there_is_refused(stage: Stage, books: Books, detailed: str) -> None:
    stage.load(*daily("10-01T00", 58))
    books.read(stage.source(), at("11-28T12"))
    stage.bigquery.load(detailed, [*daily("10-01T00", 31, "11"), line("11-28T00", "11")])
    with pytest.raises(BadDataError, match="shows costs on 1 days of 2026-11, where it had shown 27"):
        books.read(stage.source(table=detailed), at("11-28T18"))
    assert books.total() == 580


def test_many_rows_come_in_pages_and_parts_and_nothing_is_lost(stage: Stage, books: Books) -> None:
    lines = [
        line(at("10-05T00") + timedelta(days=day), f"{number}.{day:02}", project=f"p{number}")
        for day in range(45)
        for number in range(20)
    ]
    stage.load(*lines, line("07-01T00", "0.5", invoice="202611", loaded="11-09T00"))
    stage.bigquery.page_rows = 77
    source = stage.source(most=150)
    batches = books.read(source, NOW)
    assert len(batches) == 7, "six parts of about 150, and what is further back"
    assert all(len(batch.charges) <= 150 + 20 for batch in batches)
    assert books.total() == gross(lines) + Decimal("0.5")
    # Parts replace days, all of them together everything.
    stage.bigquery.execute(TABLE, "UPDATE {table} SET project = struct_update(project, id := 'p0')")
    stage.load(line("11-22T00", "0"))
    batches = books.read(stage.source(most=150), NOW + HOUR)
    spans = [batch.whole for batch in batches if batch.whole]
    assert [span.start for span in spans[1:]] == [span.end for span in spans[:-1]]
    assert books.totals("account") == {"p0": gross(lines) + Decimal("0.5")}


def test_the_first_start_reads_back_in_one_query_and_once(stage: Stage, books: Books) -> None:
    lines = [line(at("2025-08-01T00") + timedelta(days=5 * count), "1") for count in range(95)]
    stage.load(*lines)
    source = stage.source(backfill="400d")
    assert len(books.read(source, NOW)) == 2
    assert books.total() == len([one for one in lines if one.start >= at("2025-10-01T00")])
    stage.load(line("11-22T00", "1"))
    assert len(books.read(source, NOW + HOUR)) == 1


def test_months_of_invoices_and_of_usage_over_24_months(stage: Stage, books: Books) -> None:
    """A line an hour around each edge, in both zones, over both changes of the clock; loaded a day later."""
    lines = []
    for count in range(24):
        edge = at(f"{2025 + count // 12}-{count % 12 + 1:02}-01T00")
        for hours in range(-2, 12):
            start = edge + timedelta(hours=hours)
            lines.append(line(start, f"1.{count:02}{hours + 2:02}", exported_at=start + DAY))
    stage.load(*lines)
    books.read(stage.source(backfill="1000d"), at("2026-12-20T00"))
    by_invoice: dict[str, Decimal] = {}
    by_month: dict[datetime, Decimal] = {}
    for one in lines:
        invoice = f"{one.start.astimezone(PACIFIC):%Y-%m}-01"
        by_invoice[invoice] = by_invoice.get(invoice, Decimal(0)) + Decimal(one.cost)
        start = month_of(one.start).start
        by_month[start] = by_month.get(start, Decimal(0)) + Decimal(one.cost)
    assert {start: books.total(month_of(start)) for start in by_month} == by_month
    found: dict[str, Decimal] = {}
    for start in by_month:
        for invoice, amount in books.totals("billing_period", period=month_of(start)).items():
            named = invoice or start.date().isoformat()
            found[named] = found.get(named, Decimal(0)) + amount
    assert found == by_invoice
    # An hour of usage begins the invoice at 07:00 UTC in summer time, at 08:00 in winter.
    assert "2026-07-01" in by_invoice
    assert by_invoice["2025-12-01"] != by_invoice["2026-01-01"]


@pytest.mark.parametrize("now", ["10-31T23:59:59", "11-01T00", "11-01T07:59:59", "11-10T07:59:59"])
def test_the_month_before_last_is_read_until_the_last_invoice_is_closed(stage: Stage, now: str) -> None:
    (window,) = stage.source(backfill="1d").windows(at(now), {}, None)
    assert window.period == Period(at("09-01T00"), at(now) + timedelta(seconds=1))
    (window,) = stage.source(backfill="1d").windows(at("11-10T08"), {}, None)
    assert window.period.start == at("10-01T00")


def test_a_read_as_the_month_ends_is_one_of_the_running_window(stage: Stage, books: Books) -> None:
    stage.load(line("07-15T00", "-2", invoice="202611", exported_at="11-24T00"), line("11-24T00", "5"))
    books.read(stage.source(backfill="1d"), at("11-30T23:59:59"))
    assert books.total() == 3


def test_another_currency_is_named(stage: Stage) -> None:
    stage.load(line("11-03T00", "1", currency="EUR"))
    source = stage.source()
    with pytest.raises(PermanentError, match="the export is in EUR, but source gcp is set to USD: change its currency"):
        source.fetch(source.windows(NOW, {}, None)[0])


def test_two_currencies_are_never_added_and_one_that_took_over_is_told(stage: Stage, books: Books) -> None:
    stage.load(line("11-03T00", "1"), line("11-03T12", "1000", currency="EUR"), line("11-03T13", "3"))
    books.read(stage.source(), NOW)
    assert books.totals("currency") == {"USD": Decimal(4)}
    euros = stage.source(currency="EUR", name="gcp-eur")
    books.read(euros, NOW)
    assert books.totals("source", "currency") == {("gcp", "USD"): Decimal(4), ("gcp-eur", "EUR"): Decimal(1000)}
    stage.load(line("11-05T00", "1", currency="EUR"))
    source = stage.source()
    with pytest.raises(PermanentError, match="is in EUR"):
        source.fetch(source.windows(NOW + HOUR, {}, None)[0])


def test_an_amount_that_is_none_is_left_out_counted_and_withdraws_nothing(stage: Stage, books: Books) -> None:
    stage.load(line("11-03T00", "1"), line("11-04T00", "2", project="infer"))
    source = stage.source()
    books.read(source, NOW)
    stage.bigquery.execute(TABLE, "UPDATE {table} SET cost = 'NaN'::DOUBLE WHERE project.id = 'infer'")
    stage.load(line("11-05T00", "4"), line("11-05T00", "1", credits=("-1", "inf")))
    batch, *_ = books.read(source, NOW + HOUR)
    assert (batch.rejected, batch.missing, batch.whole) == (2, ("2 unusable lines of the export",), None)
    assert books.total() == 1 + 2 + 4 + 1 - 1
    again, *_ = books.read(source, NOW + 2 * HOUR)
    assert again.missing, "it is not taken for unchanged"


def test_while_the_table_has_not_changed_no_query_is_run(stage: Stage, books: Books) -> None:
    stage.load(*LINES)
    books.read(stage.source(backfill="1d"), NOW)
    (first,) = stage.cloud.calls[-1:]
    assert first.path.split("/")[5] == "queries"
    stage.cloud.calls.clear()
    for hours in range(1, 12):
        (batch,) = books.read(stage.source(backfill="1d"), NOW + hours * HOUR)
        assert (batch.data_as_of, batch.use.cost_usd) == (at("11-04T03"), 0)
    assert stage.paths == ["GET datasets"] * 11
    (batch,) = books.read(stage.source(backfill="1d"), NOW + 12 * HOUR)
    assert batch.use.cost_usd > 0, "once in a while it is read all the same"
    books.read(stage.source(backfill="1d", by=["service"]), NOW + 13 * HOUR)
    assert books.totals("account") == {"": books.total()}, "another way to read it is another read"
    books.read(stage.source(backfill="1d"), NOW + 14 * HOUR)
    assert books.totals("account").keys() == {"train", "infer", ""}, "and so is the way back, though nothing is new"


def test_what_queries_cost_is_counted_and_limited_across_processes(stage: Stage, books: Books) -> None:
    stage.load(*LINES)
    (batch,) = books.read(stage.source(backfill="1d"), NOW)
    # 10 MB are the least: 10 / 1024^2 TiB at $6.25, which is 0.000059604644775390625.
    assert batch.use.cost_usd == Decimal("0.000059604645")
    assert batch.use.calls == 4
    stage.bigquery.weight = 10**6
    stage.load(line("11-21T00", "1"))
    source = stage.source(backfill="1d", max_cost_per_month="0.00008")
    with pytest.raises(
        PermanentError, match=r"queries have cost 0.00 USD and the next .* max_cost_per_month = 0.00008"
    ):
        books.read(source, NOW + HOUR)
    with pytest.raises(PermanentError, match=r"would read \d+\.\d\d GB, which is more than max_bytes_per_query"):
        books.read(stage.source(backfill="1d", max_bytes_per_query="10MB"), NOW + HOUR)
    december = at("12-01T12")
    books.read(stage.source(backfill="1d", max_cost_per_month="1"), december)


def lost_rows(call: Call) -> RefusedError | None:
    return RefusedError(500, "internalError", "no") if "/queries/" in call.path else None


def damaged_rows(call: Call) -> RefusedError | None:
    return RefusedError(400, "invalid", "no") if "maxResults" in call.query else None


@pytest.mark.parametrize("fault", [lost_rows, damaged_rows])
def test_what_was_billed_counts_even_if_no_row_of_it_came(
    stage: Stage, books: Books, fault: Callable[[Call], RefusedError | None]
) -> None:
    stage.load(*LINES)
    source = stage.source(backfill="1d", max_cost_per_month="0.0002")
    stage.cloud.always = fault
    for _ in range(3):
        with pytest.raises(OutsideError):
            books.read(source, NOW)
    stage.cloud.always = None
    with pytest.raises(PermanentError, match="more than max_cost_per_month"):
        books.read(source, NOW)
    kept = source.remembered()
    assert kept.meters["cost 2026-11"].value == kept.use.cost_usd == 3 * Decimal("0.000059604645")
    assert kept.use.calls == len(stage.cloud.calls)
    assert source.remembered().use == ApiUse(), "it is told once"
    # Another process knows it from the store.
    again = stage.source(backfill="1d", max_cost_per_month="0.0002")
    with pytest.raises(PermanentError, match="more than max_cost_per_month"):
        again.fetch(again.windows(NOW, dict(kept.meters), None)[0])


def test_a_query_that_was_refused_has_cost_nothing(stage: Stage, books: Books) -> None:
    stage.load(*LINES)
    source = stage.source(backfill="1d")
    stage.cloud.always = lambda call: RefusedError(429, "rateLimitExceeded", "no") if call.method == "POST" else None
    with pytest.raises(TemporaryError):
        books.read(source, NOW)
    stage.cloud.always = None
    (batch,) = books.read(source, NOW)
    assert batch.meters["cost 2026-11"].value == Decimal("0.000059604645")


def test_partitions_before_the_window_are_not_paid_for(stage: Stage) -> None:
    stage.bigquery.weight = 10**5
    old = [line(at("2025-01-01T00") + timedelta(days=count), "1") for count in range(500)]
    stage.load(*old, line("11-03T00", "1"))
    source = stage.source(backfill="1d")
    batch = source.fetch(source.windows(NOW, {}, None)[0])
    all_of_it = stage.source(backfill="3000d")
    *_, past = all_of_it.windows(NOW, {}, None)
    assert batch.use.cost_usd * 50 < all_of_it.fetch(past).use.cost_usd


def test_every_query_has_a_limit(stage: Stage) -> None:
    stage.load(*LINES)
    source = stage.source(max_bytes_per_query="20GB")
    source.fetch(source.windows(NOW, {}, None)[0])
    asked = [call.body["configuration"] for call in stage.cloud.calls if call.method == "POST"]
    assert [one.get("dryRun", False) for one in asked] == [True, False]
    assert asked[1]["query"]["maximumBytesBilled"] == str(20 * 1024**3)
    assert asked[1]["jobTimeoutMs"] == "50000"


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_however_lines_are_delivered_the_totals_are_the_same(stage: Stage, tmp_path: Path, data: st.DataObject) -> None:
    stage.bigquery.execute(TABLE, "DELETE FROM {table}")
    order = data.draw(st.permutations(LINES + LINES))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(order) - 1), max_size=3)))
    source = stage.source(most=data.draw(st.sampled_from([1, 3, 100_000])))
    # A store of its own for each example: Hypothesis seeds `random`, so that is no name.
    with open_store(tmp_path / f"state-{len(list(tmp_path.iterdir()))}") as store:
        books, now, loaded = Books(store), NOW, 0
        for cut in [*cuts, len(order)]:
            # Loaded whenever it comes, late or not.
            stage.load(*(replace(one, loaded=now) for one in order[loaded:cut]))
            loaded, now = cut, now + HOUR
            for _ in range(data.draw(st.integers(1, 2))):
                books.read(source, now)
        assert books.total() == 2 * (gross(LINES) + credits_of(LINES))
        assert books.totals("run")["r1"] == 2 * Decimal("1335.4")
        assert books.total(month("2026-10")) == 2 * Decimal("1000.5")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("table", "gcp_billing_export_v1_0123AB_4567CD_89EF01", "expected project.dataset.table"),
        ("table", "a.b.c`; DROP", "expected project.dataset.table"),
        ("billing_account", "012345", "expected the id of a billing account"),
        ("project", "My Project", "expected the id of a project"),
        ("run_tag", "Training Run", "expected the key of a label"),
        ("max_bytes_per_query", "1MB", "expected a size"),
        ("max_bytes_per_query", "lots", "expected a size"),
        ("max_bytes_per_query", True, "expected a size"),
        ("max_cost_per_month", "0", "expected an amount in dollars"),
        ("max_cost_per_month", "NaN", "expected an amount in dollars"),
        ("by", ["sku"], "Input should be 'account', 'service', 'region' or 'run'"),
        ("currency", "usd", "String should match pattern"),
    ],
)
def test_settings_that_cannot_be(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"name": "gcp", "table": TABLE, key: value})
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("more", "bill"),
    [
        ({}, "gcp/0123AB-4567CD-89EF01"),
        ({"table": TABLE.replace("export_v1", "export_resource_v1")}, "gcp/0123AB-4567CD-89EF01"),
        ({"table": "pp.d.view", "billing_account": "AAAAAA-BBBBBB-CCCCCC"}, "gcp/AAAAAA-BBBBBB-CCCCCC"),
        ({"table": "pp.d.view"}, "gcp/pp.d.view"),
    ],
)
def test_whose_bill_it_is(more: dict[str, Any], bill: str) -> None:
    assert Settings.model_validate({"name": "gcp", "table": TABLE, **more}).bill == bill


def test_probe_says_what_there_is_and_costs_nothing(stage: Stage) -> None:
    stage.load(*LINES)
    said = stage.source(billing_endpoint=stage.cloud.url).probe()
    assert re.match(r"the export of 0123AB-4567CD-89EF01 in US, last changed \d+ \w{3} 20\d\d \d\d:\d\d UTC; ", said)
    assert "a read costs 0.0001 USD (0.01 GB); its billing account is open" in said
    assert all(call.body.get("configuration", {}).get("dryRun", True) for call in stage.cloud.calls)
