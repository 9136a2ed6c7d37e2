"""The ledger against a model in plain dicts, and against flipped bits."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace as but
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alarms.model import Period
from monitor.errors import BadDataError, StoreError
from monitor.model import CREDIT, Batch, Charge, MeterReading, Series
from monitor.period import midnight, month_of
from monitor.store import meters
from monitor.store.charges import Replaced, day_totals, replace
from monitor.store.database import Store, open_store
from monitor.store.rows import CorruptRowError
from tests.fakes.ledger import totals_by_series

START = datetime(2026, 10, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ALL = Period(START - 10 * DAY, START + 40 * DAY)
MONTH = month_of(START)
EC2 = Series("aws", "USD", account="123456789012", service="AmazonEC2")
S3 = Series("aws", "USD", account="123456789012", service="AmazonS3", tags=(("team", 'ü"1'),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        yield opened


def charge(series: Series, hour: int, cost: str, hours: int = 1) -> Charge:
    start = START + hour * HOUR
    return Charge(series, Period(start, start + hours * HOUR), Decimal(cost))


def batch(*charges: Charge, since: int = 0, until: int = 48, also: tuple[Series, ...] = ()) -> Batch:
    window = Period(START + since * HOUR, START + until * HOUR)
    named = dict.fromkeys([*(one.series for one in charges), *also], window)
    return Batch(charges, named, data_as_of=window.end)


def put(store: Store, one: Batch, at: datetime = START) -> Replaced:
    with store.transaction() as tx:
        return replace(tx, "aws", one, at)


def totals(store: Store, period: Period = ALL) -> dict[Series, Decimal]:
    with store.read() as connection:
        return totals_by_series(connection, period)


def revisions(store: Store) -> list[tuple[int, str, int]]:
    with store.read() as connection:
        query = "SELECT revision, billed_cost, withdrawn FROM charge ORDER BY series_id, start_at, end_at, revision"
        return connection.execute(query).fetchall()


def test_a_whole_answer_withdraws_the_series_that_it_does_not_name(store: Store) -> None:
    put(store, batch(charge(EC2, 0, "1"), charge(S3, 1, "2"), charge(S3, 60, "4"), until=72))
    others = Series("gcp", "USD")
    with store.transaction() as tx:
        replace(tx, "gcp", Batch((charge(others, 0, "8"),), {others: MONTH}, MONTH.end), START)
    one = batch(charge(EC2, 0, "1"))
    assert put(store, dataclasses.replace(one, whole=Period(START, START + 48 * HOUR))) == Replaced(
        withdrawn=1, fallen=1
    )
    # What lies outside of the window stays, and so does what another source has booked.
    assert totals(store) == {EC2: Decimal(1), S3: Decimal(4), others: Decimal(8)}


def test_an_answer_that_is_whole_for_an_account_withdraws_what_it_does_not_name_of_that_account(store: Store) -> None:
    mine, gone, other = (Series("aws", "USD", account, run=run) for account, run in (("1", "a"), ("1", ""), ("2", "")))
    put(
        store, batch(charge(mine, 0, "1"), charge(gone, 1, "2"), charge(gone, 60, "4"), charge(other, 1, "8"), until=72)
    )
    one = dataclasses.replace(batch(charge(mine, 0, "1")), whole_accounts={"1": Period(START, START + 48 * HOUR)})
    assert put(store, one).withdrawn == 1
    assert totals(store) == {mine: Decimal(1), gone: Decimal(4), other: Decimal(8)}


def test_where_nothing_has_changed_what_is_stored_stays(store: Store) -> None:
    put(store, batch(charge(EC2, 0, "1"), charge(EC2, 24, "2"), charge(S3, 25, "4"), charge(S3, 48, "8"), until=72))
    second = Period(START + DAY, START + 2 * DAY)
    one = batch(charge(EC2, 0, "16"), until=72)
    one = dataclasses.replace(one, whole=Period(START, START + 3 * DAY), unchanged=(second,))
    assert put(store, one) == Replaced(revised=1, withdrawn=1, fallen=1)
    assert totals(store) == {EC2: Decimal(16 + 2), S3: Decimal(4)}
    with pytest.raises(BadDataError, match="is where nothing was to have changed"):
        put(store, dataclasses.replace(batch(charge(EC2, 24, "2")), unchanged=(second,)))
    part = Period(second.start + HOUR, second.end)
    with pytest.raises(BadDataError, match="of a part of a day"):
        put(store, dataclasses.replace(batch(charge(EC2, 0, "1")), unchanged=(part,)))


def test_what_moves_past_a_day_without_a_change_has_not_fallen(store: Store) -> None:
    put(store, batch(charge(EC2, 0, "5"), charge(EC2, 24, "1"), until=72))
    moved = batch(charge(EC2, 0, "2"), charge(EC2, 48, "3"), until=72)
    moved = dataclasses.replace(moved, unchanged=(Period(START + DAY, START + 2 * DAY),))
    assert put(store, moved) == Replaced(new=1, revised=1)
    assert totals(store) == {EC2: Decimal(6)}


def test_category_billing_period_and_tags_make_series_of_their_own(store: Store) -> None:
    kinds = [
        EC2,
        dataclasses.replace(EC2, charge_category=CREDIT),
        dataclasses.replace(EC2, billing_period="2026-10-16"),
        dataclasses.replace(EC2, tags=(("team", "a"),)),
    ]
    put(store, batch(*(charge(series, 0, str(cost)) for cost, series in enumerate(kinds, 1))))
    assert totals(store) == {series: Decimal(cost) for cost, series in enumerate(kinds, 1)}


def test_a_charge_counts_and_a_second_delivery_of_it_does_not(store: Store) -> None:
    one = batch(charge(EC2, 0, "1.10"), charge(EC2, 1, "2.2"), charge(S3, 1, "0.000000476"))
    assert put(store, one) == Replaced(new=3)
    with store.read() as connection:
        written = connection.total_changes
        assert put(store, one, START + HOUR) == Replaced()
        assert connection.total_changes == written
    assert totals(store) == {EC2: Decimal("3.3"), S3: Decimal("0.000000476")}
    assert revisions(store) == [(0, "1.1", 0), (0, "2.2", 0), (0, "0.000000476", 0)]


def test_a_restatement_replaces_and_the_old_value_stays_on_record(store: Store) -> None:
    put(store, batch(charge(EC2, 0, "1.10")))
    assert put(store, batch(charge(EC2, 0, "1.1000"))) == Replaced()
    assert put(store, batch(charge(EC2, 0, "0.90"))) == Replaced(revised=1, fallen=1)
    assert totals(store) == {EC2: Decimal("0.9")}
    assert revisions(store) == [(0, "1.1", 0), (1, "0.9", 0)]


def test_a_charge_that_is_no_longer_listed_is_withdrawn_and_may_come_back(store: Store) -> None:
    put(store, batch(charge(EC2, 0, "1"), charge(EC2, 1, "2")))
    assert put(store, batch(charge(EC2, 1, "2"))) == Replaced(withdrawn=1, fallen=1)
    assert totals(store) == {EC2: Decimal(2)}
    assert put(store, batch(charge(EC2, 1, "2"))) == Replaced()
    assert put(store, batch(charge(EC2, 0, "1"), charge(EC2, 1, "2"))) == Replaced(revised=1)
    assert totals(store) == {EC2: Decimal(3)}
    assert revisions(store) == [(0, "1", 0), (1, "0", 1), (2, "1", 0), (0, "2", 0)]


def test_all_charges_withdrawn_is_no_charge_and_not_zero(store: Store) -> None:
    put(store, batch(charge(EC2, 0, "1")))
    put(store, batch(also=(EC2,)))
    assert totals(store) == {}
    with store.read() as connection:
        assert list(day_totals(connection, ALL.start, ALL.end)) == []
    put(store, batch(charge(EC2, 0, "0")))
    assert totals(store) == {EC2: Decimal(0)}


def test_what_is_not_named_and_what_is_outside_the_window_stays(store: Store) -> None:
    put(store, batch(charge(EC2, 0, "1"), charge(EC2, 5, "2"), charge(S3, 5, "4")))
    assert put(store, batch(charge(EC2, 5, "3"), since=5, until=6)) == Replaced(revised=1)
    assert totals(store) == {EC2: Decimal(4), S3: Decimal(4)}


def test_a_charge_belongs_to_the_window_and_the_day_that_it_starts_in(store: Store) -> None:
    put(store, batch(charge(EC2, 23, "5", hours=4)))
    assert put(store, batch(also=(EC2,), since=24, until=48)) == Replaced()
    assert totals(store, Period(START, START + DAY)) == {EC2: Decimal(5)}
    assert totals(store, Period(START + DAY, START + 2 * DAY)) == {}


def test_a_month_is_its_days_and_no_others(store: Store) -> None:
    put(store, batch(*(charge(EC2, hour, "1") for hour in range(72)), until=72))
    assert totals(store, month_of(START)) == {EC2: Decimal(48)}
    assert totals(store, month_of(START + 2 * DAY)) == {EC2: Decimal(24)}


def test_day_totals_say_until_when_they_know(store: Store) -> None:
    put(store, batch(charge(EC2, 0, "1"), charge(EC2, 3, "1.5"), charge(EC2, 24, "-2")))
    with store.read() as connection:
        assert list(day_totals(connection, START, START + 2 * DAY)) == [
            (EC2, date(2026, 10, 30), Decimal("2.5"), START + 4 * HOUR),
            (EC2, date(2026, 10, 31), Decimal(-2), START + 25 * HOUR),
        ]
        everything = list(day_totals(connection, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)))
        assert len(everything) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (batch(charge(EC2, 48, "1")), "outside the window"),
        (batch(charge(EC2, 1, "1", hours=0)), "outside the window"),
        (Batch((charge(EC2, 1, "1"),), {}, None), "outside the window"),
        (batch(charge(EC2, 1, "1"), charge(EC2, 1, "2")), "two different amounts"),
        (batch(charge(EC2, 1, "NaN")), "no usable amount"),
        (batch(charge(EC2, 1, "Infinity")), "no usable amount"),
        (batch(charge(EC2, 1, "1E+400")), "no usable amount"),
        (batch(charge(but(EC2, source="gcp"), 1, "1")), "in the name of gcp"),
    ],
)
def test_a_batch_that_contradicts_itself_is_refused_whole(store: Store, wrong: Batch, said: str) -> None:
    with pytest.raises(BadDataError, match=said):
        put(store, wrong)
    assert totals(store) == {}


def test_a_row_that_was_served_twice_is_one_charge(store: Store) -> None:
    assert put(store, batch(charge(EC2, 1, "1"), charge(EC2, 1, "1.0"))) == Replaced(new=1)
    assert totals(store) == {EC2: Decimal(1)}


def test_meters_are_kept_per_source_until_they_move_on(store: Store) -> None:
    reading = MeterReading(START, Decimal("812.550"))
    put(store, but(batch(), meters={"total": reading, "EC2": reading}))
    put(store, but(batch(), meters={"total": MeterReading(START + HOUR, Decimal(820))}))
    put(store, batch())
    with store.read() as connection:
        assert meters.read(connection, "aws") == {"EC2": reading, "total": MeterReading(START + HOUR, Decimal(820))}
        assert meters.read(connection, "gcp") == {}


_SERIES = [EC2, S3, Series("aws", "EUR"), Series("aws", "USD", account="1", region="us-east-1", run="r1")]
_AMOUNT = st.decimals(min_value=-(10**12), max_value=10**12, places=9).map(str)
_ROW = st.tuples(st.sampled_from(_SERIES), st.integers(0, 71), st.integers(1, 30), _AMOUNT)


@st.composite
def _batches(draw: st.DrawFn) -> Batch:
    since = draw(st.integers(0, 70))
    until = draw(st.integers(since + 1, 72))
    rows = draw(st.lists(_ROW, max_size=8, unique_by=lambda row: row[:3]))
    inside = [charge(series, hour, cost, hours) for series, hour, hours, cost in rows if since <= hour < until]
    again = draw(st.lists(st.sampled_from(inside), max_size=3)) if inside else []
    also = tuple(draw(st.sets(st.sampled_from(_SERIES))))
    return batch(*draw(st.permutations([*inside, *again])), since=since, until=until, also=also)


@settings(max_examples=60)
@given(st.lists(_batches(), min_size=1, max_size=8), st.booleans())
def test_any_history_gives_the_totals_of_the_model(history: list[Batch], again: bool) -> None:
    model: dict[tuple[Series, Period], Fraction] = {}
    with tempfile.TemporaryDirectory() as directory, open_store(Path(directory)) as store:
        for one in history:
            put(store, one)
            if again:
                assert put(store, one) == Replaced()
            gone = [key for key in model if key[0] in one.replaces and key[1].start in one.replaces[key[0]]]
            for key in gone:
                del model[key]
            model |= {(row.series, row.period): Fraction(row.billed_cost) for row in one.charges}
        assert {s: Fraction(total) for s, total in totals(store).items()} == _sums(model, ALL)
        assert {s: Fraction(total) for s, total in totals(store, MONTH).items()} == _sums(model, MONTH)
        first = Period(START, START + DAY)
        assert {s: Fraction(total) for s, total in totals(store, first).items()} == _sums(model, first)
        with store.read() as connection:
            for series, day, cost, until in day_totals(connection, ALL.start, ALL.end):
                mine = {k: v for k, v in model.items() if k[0] == series and k[1].start in _day(day)}
                assert Fraction(cost) == sum(mine.values())
                assert until == max(period.end for _, period in mine)


def _sums(model: dict[tuple[Series, Period], Fraction], period: Period) -> dict[Series, Fraction]:
    sums: dict[Series, Fraction] = {}
    for (series, charged), cost in model.items():
        if charged.start in period:
            sums[series] = sums.get(series, Fraction(0)) + cost
    return sums


def _day(day: date) -> Period:
    return Period(midnight(day), midnight(day) + DAY)


def test_no_flipped_bit_makes_a_wrong_total(tmp_path: Path) -> None:
    series = [Series("aws", "USD", account=f"{number:012d}") for number in range(20)]
    with open_store(tmp_path / "good") as store:
        rows = [
            charge(one, hour, f"{n * 7 + hour}.{n:02d}") for n, one in enumerate(series) for hour in range(0, 96, 6)
        ]
        put(store, batch(*rows, until=96))
        right = totals(store)
        expected_next = Replaced(revised=len(series))
    good = (tmp_path / "good" / "ledger.db").read_bytes()
    revised = batch(*(but(row, billed_cost=row.billed_cost + (row.period.start == START)) for row in rows), until=96)
    after = {one: total + 1 for one, total in right.items()}
    chance = random.Random(7)  # noqa: S311 - the same bits each time
    noticed = 0
    for number in range(500):
        damaged = bytearray(good)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "ledger.db").write_bytes(damaged)
        try:
            with open_store(directory) as store:
                assert totals(store) == right
                assert put(store, revised) == expected_next
                assert totals(store) == after
        except StoreError:
            noticed += 1
    assert 50 < noticed < 500


@pytest.mark.parametrize(
    ("table", "noticed"), [("day_total", "day_tally"), ("day_tally", "day_tally"), ("series", "series")]
)
def test_a_lost_row_is_noticed(store: Store, table: str, noticed: str) -> None:
    put(store, batch(charge(EC2, 0, "1"), charge(S3, 0, "2"), charge(EC2, 24, "4")))
    key = "id" if table == "series" else "day"
    with store.read() as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(f"DELETE FROM {table} WHERE {key} = (SELECT min({key}) FROM {table})")  # noqa: S608 - ours
    with pytest.raises(CorruptRowError, match=f"of table {noticed} is"):
        totals(store)


@pytest.mark.parametrize(
    ("damage", "noticed"),
    [
        ("UPDATE month_total SET billed_cost = '2'", r"row month=\d+, series_id=1 of table month_total is"),
        ("DELETE FROM month_total", "of table month_tally is"),
        ("DELETE FROM month_tally", "of table month_tally is"),
    ],
)
def test_a_damaged_month_is_noticed(store: Store, damage: str, noticed: str) -> None:
    put(store, batch(charge(EC2, 0, "1"), charge(EC2, 24, "4")))
    assert totals(store, MONTH) == {EC2: Decimal(5)}
    with store.read() as connection:
        connection.execute(damage)
    with pytest.raises(CorruptRowError, match=noticed):
        totals(store, MONTH)


def test_a_lost_charge_is_noticed_before_its_day_is_summed_again(store: Store) -> None:
    put(store, batch(charge(EC2, 0, "1"), charge(EC2, 1, "2")))
    with store.read() as connection:
        connection.execute("DROP TRIGGER charge_stays")
        connection.execute("DELETE FROM charge WHERE billed_cost = '1'")
    with pytest.raises(CorruptRowError, match="day_total"):
        put(store, batch(charge(EC2, 0, "1"), charge(EC2, 1, "2")))


def test_a_series_that_its_index_does_not_find_is_not_counted_twice(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        put(store, batch(charge(EC2, 0, "1")))
    content = bytearray((tmp_path / "ledger.db").read_bytes())
    content[content.rindex(b"awsUSD")] ^= 1  # of two occurrences the one in the index
    (tmp_path / "ledger.db").write_bytes(content)
    with open_store(tmp_path) as store:
        assert put(store, batch(charge(EC2, 0, "1"))) == Replaced()
        assert totals(store) == {EC2: Decimal(1)}


def test_a_changed_amount_names_its_row(store: Store) -> None:
    put(store, batch(charge(EC2, 0, "1")))
    with store.read() as connection:
        connection.execute("UPDATE day_total SET billed_cost = '2'")
    with pytest.raises(CorruptRowError, match=r"row day=\d+, series_id=1 of table day_total"):
        totals(store)


def test_text_that_is_no_text_any_more_is_damage(store: Store) -> None:
    put(store, batch(charge(EC2, 0, "1")))
    with store.read() as connection:
        connection.execute("UPDATE series SET account = CAST(x'ff' AS TEXT)")
    with pytest.raises(StoreError, match="damaged"):
        totals(store)


def test_sums_are_not_left_to_sqlite(store: Store) -> None:
    put(
        store,
        batch(charge(EC2, 0, "0.1"), charge(EC2, 1, "0.2"), charge(EC2, 24, "999999999999999.999999999999999999")),
    )
    assert totals(store) == {EC2: Decimal("1000000000000000.299999999999999999")}
    with store.read() as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE day_total SET billed_cost = x'00'")
