"""Days that are booked as they are do not come again, and the books are still those of a new reader."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import OutsideError
from monitor.model import Batch, Charge
from monitor.simulation.billing_export import ExportLine
from monitor.simulation.gcp import Call, RefusedError
from monitor.store import charges, meters
from monitor.store.database import open_store
from tests.fakes.gcp_stage import TABLE, Books, Stage, at, line, stage_of

NOW = at("11-23T18")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST, DAYS = at("10-01T00"), 50


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_of(tmp_path_factory.mktemp("gcp")) as made:
        made.settings = {"backfill": "1d"}
        yield made


@pytest.fixture
def stage(world: Stage) -> Iterator[Stage]:
    world.load(*every_day("train", "10"), *every_day("infer", "1"))
    yield world
    world.bigquery.execute(TABLE, "DELETE FROM {table}")
    world.bigquery.page_rows = 100_000
    world.cloud.always = None


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    with open_store(tmp_path / "state") as store:
        yield Books(store)


def every_day(project: str, cost: str) -> list[ExportLine]:
    return [line(FIRST + number * DAY, cost, project=project) for number in range(DAYS)]


MOMENTS = count()


def touch(stage: Stage) -> None:
    """The table has changed, though nothing that is read."""
    stage.load(line("05-01T00", "1", loaded=NOW + next(MOMENTS) * timedelta(seconds=1)))


def read_in_part(stage: Stage, books: Books, **settings: Any) -> None:
    """A read whose first page is booked and whose second is refused."""

    def refuse_the_second(call: Call) -> None:
        if "pageToken" in call.query:
            raise RefusedError(403, "accessDenied", "Access Denied")

    stage.bigquery.page_rows, stage.cloud.always = 40, refuse_the_second
    with pytest.raises(OutsideError):
        books.read(stage.source(most=20, **settings), NOW + HOUR)
    stage.cloud.always = None


def days_of(*batches: Batch) -> set[str]:
    charges: list[Charge] = [charge for batch in batches for charge in batch.charges]
    return {f"{charge.period.start:%m-%d}" for charge in charges}


def test_only_days_that_have_changed_are_sent(stage: Stage, books: Books) -> None:
    (first,) = books.read(stage.source(), NOW)
    assert (len(first.charges), first.unchanged) == (2 * DAYS, ())
    stage.load(line("11-20T00", "5"), line("10-07T00", "0.5", loaded="11-23T18"))
    (second,) = books.read(stage.source(), NOW + HOUR)
    assert days_of(second) == {"11-20", "10-07"}
    assert (len(second.charges), len(second.unchanged)) == (1 + 2, DAYS - 1)
    assert books.total() == DAYS * 11 + 5 + Decimal("0.5")
    assert second.data_as_of == at("11-20T01")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {table} SET cost = 11 WHERE project.id = 'train' AND usage_start_time = '2026-10-07'",
        "UPDATE {table} SET project = struct_update(project, id := 'else') WHERE usage_start_time = '2026-10-07'",
        "UPDATE {table} SET labels = [{{'key': 'training-run', 'value': 'r9'}}] WHERE usage_start_time = '2026-10-07'",
        "UPDATE {table} SET cost_type = 'tax' WHERE project.id = 'train' AND usage_start_time = '2026-10-07'",
        "UPDATE {table} SET invoice = {{'month': '202611'}} WHERE usage_start_time = '2026-10-07'",
        "UPDATE {table} SET usage_end_time = '2026-10-07T20:00' WHERE usage_start_time = '2026-10-07'",
        "DELETE FROM {table} WHERE project.id = 'train' AND usage_start_time = '2026-10-07'",
        "UPDATE {table} SET cost = 11 - cost WHERE usage_start_time = '2026-10-07'",
    ],
)
def test_a_day_that_was_written_anew_is_sent_though_its_lines_are_as_many_and_as_old(
    stage: Stage, books: Books, tmp_path: Path, change: str
) -> None:
    books.read(stage.source(), NOW)
    stage.bigquery.execute(TABLE, change)
    touch(stage)
    (batch,) = books.read(stage.source(), NOW + HOUR)
    assert days_of(batch) == {"10-07"}
    assert_as_read_anew(stage, books, tmp_path)


def test_a_day_that_is_gone_is_withdrawn_and_booked_again_when_it_is_back(stage: Stage, books: Books) -> None:
    books.read(stage.source(), NOW)
    lines = "FROM {table} WHERE usage_start_time = '2026-10-07'"
    stage.bigquery.execute(TABLE, f"CREATE TABLE kept AS SELECT * {lines}")
    stage.bigquery.execute(TABLE, f"DELETE {lines}")
    touch(stage)
    books.read(stage.source(), NOW + HOUR)
    assert books.total() == (DAYS - 1) * 11
    stage.bigquery.execute(TABLE, "INSERT INTO {table} FROM kept")
    stage.bigquery.execute(TABLE, "DROP TABLE kept")
    touch(stage)
    books.read(stage.source(), NOW + 2 * HOUR)
    assert books.total() == DAYS * 11


def test_a_day_that_came_in_a_read_that_failed_later_on_comes_again(stage: Stage, books: Books) -> None:
    books.read(stage.source(), NOW)
    stage.bigquery.execute(TABLE, "UPDATE {table} SET cost = cost * 2")
    touch(stage)
    read_in_part(stage, books)
    assert DAYS * 11 < books.total() < 2 * DAYS * 11, "some parts were booked"
    # All is as it was before: to those days that is news.
    stage.bigquery.execute(TABLE, "UPDATE {table} SET cost = cost / 2")
    touch(stage)
    books.read(stage.source(), NOW + 2 * HOUR)
    assert books.total() == DAYS * 11


def test_a_day_with_an_unusable_amount_is_sent_until_it_is_mended(stage: Stage, books: Books) -> None:
    books.read(stage.source(), NOW)
    for hours, cost in enumerate(("'NaN'::DOUBLE", "'NaN'::DOUBLE", "10"), 1):
        change = "UPDATE {{table}} SET cost = {cost} WHERE usage_start_time = '2026-10-07'"
        stage.bigquery.execute(TABLE, change.format(cost=cost))
        touch(stage)
        (batch,) = books.read(stage.source(), NOW + hours * HOUR)
        assert bool(batch.missing) == ("NaN" in cost)
        assert not batch.charges or days_of(batch) == {"10-07"}
    assert books.total() == (DAYS - 1) * 11 + 20


def test_what_an_unusable_amount_kept_from_being_withdrawn_is_withdrawn_when_that_is_mended(
    stage: Stage, books: Books
) -> None:
    books.read(stage.source(), NOW)
    stage.bigquery.execute(TABLE, "UPDATE {table} SET cost = 'NaN'::DOUBLE WHERE usage_start_time = '2026-10-08'")
    stage.bigquery.execute(TABLE, "DELETE FROM {table} WHERE project.id = 'infer' AND usage_start_time = '2026-10-07'")
    touch(stage)
    books.read(stage.source(), NOW + HOUR)
    assert books.by_day()["2026-10-07"] == 11
    stage.bigquery.execute(TABLE, "UPDATE {table} SET cost = 10 WHERE usage_start_time = '2026-10-08'")
    touch(stage)
    books.read(stage.source(), NOW + 2 * HOUR)
    assert books.by_day()["2026-10-07"] == 10


def test_once_a_day_all_of_it_is_sent_whatever_is_known(stage: Stage, books: Books) -> None:
    books.read(stage.source(), NOW)
    sent = []
    for hours in (12, 23, 24, 25, 47, 49):
        touch(stage)
        (batch,) = books.read(stage.source(), NOW + hours * HOUR)
        sent.append(len(batch.charges))
    assert sent == [0, 0, 2 * DAYS, 0, 0, 2 * DAYS]
    touch(stage)
    (batch,) = books.read(stage.source(), NOW + 2 * HOUR)
    assert len(batch.charges) == 2 * DAYS, "that was read tomorrow, by a clock that was wrong"
    assert books.total() == DAYS * 11


def test_the_next_turn_may_begin_before_the_end_of_a_read(stage: Stage, books: Books) -> None:
    books.read(stage.source(), NOW)
    changes = ("UPDATE {table} SET cost = cost / 2", "UPDATE {table} SET cost = cost * 2")
    for hours, change in enumerate(changes, 1):
        stage.bigquery.execute(TABLE, change)
        touch(stage)
        source, now = stage.source(most=20), NOW + hours * HOUR
        with books.store.read() as tx:
            (rest,) = source.windows(now, meters.read(tx, source.name), books.filled_since)
        while rest is not None:
            batch = source.fetch(rest)
            with books.store.transaction() as tx:
                charges.replace(tx, source.name, batch, now)
            rest, now = batch.rest, now + timedelta(minutes=5)
            source.windows(now, {}, books.filled_since)
    assert books.total() == DAYS * 11


def test_a_read_that_stopped_halfway_in_another_way_is_not_taken_for_one_in_this_way(
    stage: Stage, books: Books
) -> None:
    books.read(stage.source(by=["account"]), NOW)
    read_in_part(stage, books, by=["service"])
    assert books.totals("account")[""] > 0
    books.read(stage.source(by=["account"]), NOW + 2 * HOUR)
    assert books.totals("account") == {"train": 500, "infer": 50}


def test_another_way_to_read_and_the_way_back_read_all_of_it(stage: Stage, books: Books) -> None:
    for hours, by in enumerate((["account"], ["service"], ["account"], ["account"])):
        (batch,) = books.read(stage.source(by=by), NOW + hours * HOUR)
        assert bool(batch.charges) == (hours < 3)
        assert books.totals("account") == ({"train": 500, "infer": 50} if by == ["account"] else {"": 550})
        touch(stage)


CREDIT = "struct_pack(name := '', amount := -0.3, full_name := '', id := '', type := '')"
CHANGES = (
    "UPDATE {{table}} SET cost = cost + 1 WHERE {where}",
    "UPDATE {{table}} SET cost = 0 WHERE {where}",
    "UPDATE {{table}} SET project = struct_update(project, id := 'else') WHERE {where}",
    "UPDATE {{table}} SET project = struct_update(project, id := 'train') WHERE {where}",
    "DELETE FROM {{table}} WHERE project.id = 'train' AND {where}",
    "UPDATE {{table}} SET credits = [{credit}] WHERE {where}",
    "INSERT INTO {{table}} FROM {{table}} WHERE {where}",
    "UPDATE {{table}} SET cost = 'inf'::DOUBLE WHERE {where}",
    "UPDATE {{table}} SET cost = 10 WHERE isinf(cost)",
)


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_happens_to_a_table_the_books_are_those_of_a_new_reader(
    stage: Stage, tmp_path: Path, data: st.DataObject
) -> None:
    stage.bigquery.execute(TABLE, "DELETE FROM {table}")
    stage.load(*every_day("train", "10"), *every_day("infer", "1"))
    with open_store(tmp_path / f"state-{len(list(tmp_path.iterdir()))}") as store:
        books = Books(store)
        books.read(stage.source(), NOW)
        for hours in range(1, data.draw(st.integers(2, 6))):
            for _ in range(data.draw(st.integers(0, 3))):
                # Not its first day, and few of them: whoever has lost most days of a month is not believed.
                day = FIRST + data.draw(st.integers(1, 6)) * 8 * DAY
                where = f"usage_start_time = '{day:%Y-%m-%d}'"
                stage.bigquery.execute(TABLE, data.draw(st.sampled_from(CHANGES)).format(where=where, credit=CREDIT))
            touch(stage)
            most = data.draw(st.sampled_from([1, 7, 100_000]))
            by = data.draw(st.sampled_from([["account"], ["account"], ["service", "run"]]))
            books.read(stage.source(most=most, by=by), NOW + hours * HOUR)
        stage.bigquery.execute(TABLE, "UPDATE {table} SET cost = 7 WHERE isinf(cost)")
        touch(stage)
        books.read(stage.source(), NOW + 9 * HOUR)
        assert_as_read_anew(stage, books, tmp_path)


def assert_as_read_anew(stage: Stage, books: Books, directory: Path) -> None:
    with open_store(directory / f"new-{len(list(directory.iterdir()))}") as store:
        anew = Books(store)
        anew.read(stage.source(), NOW + 12 * HOUR)
        names = ("account", "service", "run", "charge_category", "billing_period")
        assert books.totals(*names) == anew.totals(*names)
        assert books.by_day() == anew.by_day()
        assert ends(books) == ends(anew)


def ends(books: Books) -> object:
    with books.store.read() as tx:
        return sorted(
            tx.execute("SELECT day, max(until) FROM day_total WHERE billed_cost != '0' GROUP BY day").fetchall()
        )
