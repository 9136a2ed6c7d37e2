"""The dated price book: what ships, which quote counts, and what looks wrong beside others."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config.prices import check_book
from monitor.config.report import Report
from monitor.config_file import parse, read
from monitor.training.book import FAR_OFF, SPOT_ABOVE, PriceBook, oddities, shipped
from monitor.training.catalog import BOOKS, book_text, gpus, shipped_discounts, shipped_quotes
from monitor.training.model import Pricing, Quote

NOW = datetime(2026, 11, 26, tzinfo=UTC)
days = st.integers(0, 60)
OLD = Quote(
    offer="x:1",
    seller="X",
    region="",
    gpu="H100",
    gpus=8,
    pricing=Pricing.ON_DEMAND,
    currency="USD",
    price_per_hour=Decimal(40),
    book="mine",
    source="somewhere",
    as_of=date(2026, 5, 1),
    valid_from=datetime(2026, 5, 1, tzinfo=UTC),
)
NEW = replace(OLD, price_per_hour=Decimal(30), as_of=date(2026, 11, 1), valid_from=datetime(2026, 11, 1, tzinfo=UTC))


def book(*quotes: Quote) -> PriceBook:
    return PriceBook(quotes, ())


def test_the_data_is_in_the_package() -> None:
    folder = files("monitor.training").joinpath("books")
    assert {item.name for item in folder.iterdir()} == {"article.toml", "current.toml", "gpus.toml", "mfu.toml"}


@pytest.mark.parametrize("name", BOOKS)
def test_what_ships_obeys_the_rules_for_users(tmp_path: Path, name: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(book_text(name), encoding="utf-8")
    report = Report(read(path))
    check_book(report, parse(read(path)), dated=name != "article")
    assert report.problems == []
    assert report.warnings == ()


def test_every_current_quote_has_a_public_page_and_its_date() -> None:
    current = [quote for quote in shipped_quotes() if quote.book == "current"]
    assert {quote.gpu for quote in current} == {"A100-40GB", "A100-80GB", "H100", "H200", "B200"}
    for quote in current:
        assert quote.source.startswith("https://")
        assert quote.as_of is not None


def test_the_article_bears_no_date_and_does_not_say_all() -> None:
    article = [one.quote for one in shipped().choose("article", NOW)]
    assert {quote.as_of for quote in article} == {None}
    assert [quote.offer for quote in article if quote.pricing is Pricing.SPOT] == [
        "aws:p4d.24xlarge",
        "gcp:a2-megagpu-16g",
        "azure:ND96amsr_A100_v4",
        "ciuic:8xA100",
    ]
    assert gpus()["A100"].memory_gb is None
    assert article[-1].gpu == "A100"
    (code,) = shipped_discounts()
    assert (code.code, code.off, code.first_month_off) == ("DEEPSEEK2024", Decimal("0.15"), Decimal("0.50"))


def test_a_model_has_its_other_names() -> None:
    assert gpus()["H100-80GB"] is gpus()["H100"]
    assert {gpu.memory_gb for gpu in gpus().values()} == {None, 40, 80, 141, 180}


@pytest.mark.parametrize(
    ("which", "price", "flags"),
    [
        ("current", 30, ()),
        (date(2026, 10, 31), 40, ("183 days old",)),
        (date(2026, 11, 1), 30, ()),
        (date(2026, 5, 1), 40, ()),
    ],
)
def test_the_newest_known_at_that_time_counts(which: str | date, price: int, flags: tuple[str, ...]) -> None:
    ((chosen),) = book(NEW, OLD).choose(which, NOW)
    assert chosen.quote.price_per_hour == price
    assert chosen.flags == flags


def test_nothing_is_known_before_it_was_said() -> None:
    assert book(OLD, NEW).choose(date(2026, 4, 30), NOW) == []


def test_a_date_to_come_is_today() -> None:
    later = replace(NEW, valid_from=NOW + timedelta(days=2))
    assert book(later, OLD).choose(date(2027, 1, 1), NOW)[0].quote == OLD


def test_one_that_has_ended_counts_until_there_is_a_better_one_and_says_so() -> None:
    ended = replace(NEW, valid_until=datetime(2026, 11, 20, tzinfo=UTC))
    ((chosen),) = book(ended).choose("current", NOW)
    assert chosen.flags == ("ended 20 Nov 2026",)
    assert book(ended, OLD).choose("current", NOW)[0].quote == OLD


def test_an_undated_one_counts_where_there_is_no_other() -> None:
    undated = replace(OLD, as_of=None, valid_from=None, book="article")
    assert [one.flags for one in book(undated).choose("current", NOW)] == [("undated",)]
    assert [one.quote for one in book(undated, OLD).choose("current", NOW)] == [OLD]
    elsewhere = replace(OLD, region="eu")
    assert [one.quote for one in book(undated, elsewhere).choose("current", NOW)] == [elsewhere]
    other_pricing = replace(undated, pricing=Pricing.SPOT)
    assert len(book(other_pricing, OLD).choose("current", NOW)) == 2


def test_of_two_of_one_day_the_users_counts() -> None:
    own = replace(OLD, price_per_hour=Decimal(35), book="prices.toml")
    assert [one.quote for one in book(OLD).with_more([own], ()).choose("current", NOW)] == [own]


@given(st.lists(st.tuples(days, days, st.none() | days), min_size=1, max_size=12), st.lists(days, min_size=1))
def test_a_book_that_was_asked_before_answers_as_a_new_one(
    some: list[tuple[int, int, int | None]], asked: list[int]
) -> None:
    """What counts is kept between the instants at which a quote begins or ends, which are asked for too."""
    start = datetime(2026, 5, 1, tzinfo=UTC)
    quotes = [
        replace(
            OLD,
            offer=f"x:{price % 3}",
            price_per_hour=Decimal(price + 1),
            as_of=(start + timedelta(days=begin)).date(),
            valid_from=start + timedelta(days=begin),
            valid_until=None if length is None else start + timedelta(days=begin + length + 1),
        )
        for price, begin, length in some
    ]
    kept = book(*quotes)
    for day in asked:
        at = start + timedelta(days=day)
        for which in ("current", at.date(), "article"):
            fresh = book(*quotes).choose(which, at)
            assert kept.choose(which, at) == fresh
            assert [one for name in kept.select(which, at).offers for one in kept.select(which, at).of(name)] == sorted(
                fresh, key=lambda one: list(kept.select(which, at).offers).index(one.quote.offer)
            )


def test_spot_above_on_demand_looks_wrong() -> None:
    spot = replace(OLD, pricing=Pricing.SPOT, price_per_hour=Decimal("40.01"))
    assert oddities([OLD, spot]) == {spot: (SPOT_ABOVE,)}
    assert oddities([OLD, replace(spot, price_per_hour=Decimal(40))]) == {}


@pytest.mark.parametrize(("factor", "odd"), [("8", True), ("0.125", True), ("2", False), ("0.5", False)])
def test_a_price_per_gpu_where_one_for_the_host_belongs_looks_wrong(factor: str, odd: bool) -> None:
    peers = [replace(OLD, offer=f"p:{number}", price_per_hour=Decimal(38 + number)) for number in range(3)]
    strange = replace(OLD, price_per_hour=Decimal(40) * Decimal(factor))
    assert oddities([*peers, strange]) == ({strange: (FAR_OFF,)} if odd else {})


def test_every_shipped_book_is_readable_on_its_own() -> None:
    for name in BOOKS:
        assert tomllib.loads(book_text(name))["book"] == name
