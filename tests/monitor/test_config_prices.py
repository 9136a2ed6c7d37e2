"""`prices.toml`: what it adds to the price book, and each problem with its line and sentence."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from monitor.config.prices import read_prices
from monitor.errors import ConfigError
from monitor.training.book import shipped
from monitor.training.model import Pricing

NOW = datetime(2026, 11, 26, tzinfo=UTC)
QUOTE = """\
[[quote]]
offer = "aws:p5.48xlarge"
seller = "AWS"
region = "us-east-1"
gpu = "H100-80GB"
gpus = 8
currency = "USD"
on_demand = "50.00"
spot = "20"
as_of = 2026-11-20
source = "https://example.com/prices"
"""
DISCOUNT = """\
[[discount]]
code = "DEEPSEEK2024"
seller = "Ciuic"
percent_off = "10"
valid_until = 2026-11-01
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "prices.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return directory / "config.toml"


def problems(directory: Path, text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigError) as caught:
        read_prices(written(directory, text))
    assert {problem.file for problem in caught.value.problems} == {str(directory / "prices.toml")}
    return [(problem.line, problem.path, problem.message) for problem in caught.value.problems]


def test_without_a_file_there_is_what_ships(tmp_path: Path) -> None:
    assert read_prices(tmp_path / "config.toml") == (shipped(), ())


def test_a_newer_quote_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    book, warnings = read_prices(written(tmp_path, QUOTE))
    assert warnings == ()
    found = {
        one.quote.pricing: one.quote.price_per_hour
        for one in book.choose("current", NOW)
        if one.quote.offer == "aws:p5.48xlarge"
    }
    assert found == {Pricing.ON_DEMAND: Decimal("50.00"), Pricing.SPOT: 20}
    before = [one.quote for one in book.choose(date(2026, 11, 19), NOW) if one.quote.offer == "aws:p5.48xlarge"]
    assert [quote.price_per_hour for quote in before] == [Decimal("55.04")]


def test_a_discount_may_be_said_anew(tmp_path: Path) -> None:
    book, _ = read_prices(written(tmp_path, DISCOUNT))
    (code,) = book.discounts
    assert (code.off, code.valid_until) == (Decimal("0.10"), datetime(2026, 11, 1, tzinfo=UTC))


ALONE = "on_demand is empty while spot is present; write both, for one shows whether the other can be right"
CASES = [
    ('on_demand = "50.00"\n', "", 8, "spot", ALONE),
    (
        '"50.00"',
        '""',
        8,
        "on_demand",
        "is empty; write the price of an hour of the whole host, or leave the key out",
    ),
    ('on_demand = "50.00"\nspot = "20"\n', "", 1, "", 'has no price; add one, such as on_demand = "32.77"'),
    ('currency = "USD"\n', "", 1, "currency", "missing; add currency = … here"),
    ("gpus = 8", "gpus = 0", 6, "gpus", "a host without its GPUs is no offer; expected 1 to 1000000, such as 8"),
    ("gpus = 8\n", "", 1, "gpus", "missing; add gpus = … here"),
    ('"H100-80GB"', '"H1000"', 5, "gpu", 'no GPU is named "H1000"; did you mean "H100"?'),
    ('"50.00"', '"NaN"', 8, "on_demand", ("'NaN' is not a plain decimal amount such as 12.50; write it out, with at "
     "most 15 digits before the point and 18 after it")),
    ('"50.00"', '"-1"', 8, "on_demand", "expected an amount above zero"),
    ("as_of = 2026-11-20\n", "", 1, "as_of", "missing; add as_of = … here"),
    (
        "as_of = 2026-11-20",
        "as_of = 2026-11-20\nvalid_until = 2026-11-20",
        11,
        "valid_until",
        "is not after the day from which the quote is valid",
    ),
    ('"https://example.com/prices"', '" "', 11, "source", "expected a text of printable characters"),
    ("spot =", "sport =", 9, "sport", 'unknown key; did you mean "spot"?'),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "key", "sentence"), CASES)
def test_one_problem_with_its_line_and_sentence(
    tmp_path: Path, old: str, new: str, line: int, key: str, sentence: str
) -> None:
    assert old in QUOTE
    path = f"quote[0].{key}" if key else "quote[0]"
    assert problems(tmp_path, QUOTE.replace(old, new, 1)) == [(line, path, sentence)]


def test_a_zone_twice_is_told_for_each_price(tmp_path: Path) -> None:
    assert problems(tmp_path, QUOTE + QUOTE) == [
        (19, "quote[1].on_demand", ("aws:p5.48xlarge in us-east-1 on_demand is quoted twice for the same time "
         "(line 8 too); keep one")),
        (20, "quote[1].spot", ("aws:p5.48xlarge in us-east-1 spot is quoted twice for the same time (line 9 too); "
         "keep one")),
    ]  # fmt: skip
    read_prices(written(tmp_path, QUOTE + QUOTE.replace("us-east-1", "us-east-2")))


def test_quotes_that_say_they_hold_at_once_overlap(tmp_path: Path) -> None:
    older = QUOTE.replace('spot = "20"\n', "").replace("2026-11-20", "2026-11-01\nvalid_until = 2026-12-01")
    ((line, path, sentence),) = problems(tmp_path, QUOTE.replace('spot = "20"\n', "") + older)
    assert (line, path) == (8, "quote[0].on_demand")
    assert sentence == "aws:p5.48xlarge in us-east-1 on_demand overlaps the quote on line 18, valid until 2026-12-01"
    read_prices(written(tmp_path, QUOTE + older.replace("2026-12-01", "2026-11-20")))


def test_what_looks_wrong_is_a_warning_with_its_line(tmp_path: Path) -> None:
    text = QUOTE.replace('"20"', '"60"').replace('"50.00"', '"5.00"').replace("aws:p5.48xlarge", "x:8xH100")
    _, warnings = read_prices(written(tmp_path, text))
    assert [(problem.line, problem.message) for problem in warnings] == [
        (8, "about 8 times off its peers per GPU; is that right?"),
        (9, "spot above on demand; is that right?"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "sentence"),
    [
        ('"10"', '"101"', 4, "discount[0].percent_off", "expected a percentage, above 0 and at most 100"),
        ("valid_until = 2026-11-01", f"\n{DISCOUNT}", 7, "discount[1].code", ('"DEEPSEEK2024" is already the code on '
         "line 2; keep one")),
        ("[[discount]]", "[[discounts]]", 1, "discounts", 'unknown key; did you mean "discount"?'),
        ("[[discount]]", "[discount]", 1, "discount", ("expected an array of tables; write [[discount]] in double "
         "brackets above each")),
    ],
)  # fmt: skip
def test_a_discount_with_a_problem(tmp_path: Path, old: str, new: str, line: int, path: str, sentence: str) -> None:
    assert problems(tmp_path, DISCOUNT.replace(old, new, 1)) == [(line, path, sentence)]


def test_a_file_that_others_may_change_is_refused(tmp_path: Path) -> None:
    config = written(tmp_path, QUOTE)
    (tmp_path / "prices.toml").chmod(0o666)
    with pytest.raises(ConfigError, match="can be changed by every user"):
        read_prices(config)


def test_a_file_of_thousands_of_quotes_is_read_in_moments(tmp_path: Path) -> None:
    text = "".join(QUOTE.replace("aws:p5.48xlarge", f"x:{number}") for number in range(2000))
    book, warnings = read_prices(written(tmp_path, text))
    assert warnings == ()
    assert len(book.choose("current", NOW)) == 4000 + len(shipped().choose("current", NOW))
