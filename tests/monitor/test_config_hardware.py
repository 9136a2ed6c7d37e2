"""`[[local]]` and `[[exchange]]`: what good ones become, and each problem with its line, path and sentence."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from monitor.config import Config, load
from monitor.errors import ConfigError

GOOD = """\
[[sources]]
name = "aws"
type = "aws_cloudwatch"

[[local]]
name = "rig"
gpus = 4
gpu = "A100-80GB"
parts = { gpus = "60000", memory = 2000, storage = 500.5 }
power_watts = 3000
electricity_per_kwh = "0.15"
currency = "USD"

[[exchange]]
from = "EUR"
to = "USD"
rate = "1.08"
as_of = 2026-11-01
"""


def loaded(directory: Path, text: str) -> Config:
    path = directory / "config.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return load(path)


def test_what_is_stated_is_read_and_the_rest_is_not_counted(tmp_path: Path) -> None:
    (rig,) = loaded(tmp_path, GOOD).local
    assert (rig.name, rig.gpus, rig.gpu.memory_gb, rig.currency) == ("rig", 4, 80, "USD")
    assert rig.hardware == Decimal("62500.5")
    assert rig.running_per_hour == Decimal("0.45")
    assert rig.hours_in_life is None
    assert rig.not_counted == (
        "lifetime",
        "utilisation",
        "pue",
        "wall_factor",
        "idle_watts",
        "upkeep_per_year",
        "resale",
        "cost_of_capital",
    )
    (rate,) = loaded(tmp_path, GOOD).exchange
    assert (rate.source, rate.target, rate.rate, rate.as_of) == ("EUR", "USD", Decimal("1.08"), date(2026, 11, 1))


def test_everything_may_be_stated(tmp_path: Path) -> None:
    more = (
        'currency = "USD"\nlifetime = "3y"\nutilisation = "0.5"\npue = 1.3\nwall_factor = "1.25"\nidle_watts = 600\n'
        'upkeep_per_year = "0"\nresale = "10000"\ncost_of_capital = 0.08\n'
    )
    (rig,) = loaded(tmp_path, GOOD.replace('currency = "USD"\n', more, 1)).local
    assert rig.not_counted == ()
    assert rig.hours_in_life == 13140
    assert rig.to_earn_back == Decimal("52500.5")


@pytest.mark.parametrize(("lifetime", "hours"), [("3y", 26280), ("900d", 21600), ("2w", 336), ("5h", 5)])
def test_lifetimes(tmp_path: Path, lifetime: str, hours: int) -> None:
    text = GOOD.replace("gpus = 4", f'gpus = 4\nlifetime = "{lifetime}"')
    assert loaded(tmp_path, text).local[0].lifetime_hours == hours


CASES = [
    (
        "gpus = 4",
        'gpus = 4\ntimezone = "Europe/Berlin"',
        "local[0].timezone",
        "is that of a tariff, and there is none; remove it",
    ),
    ("gpus = 4", "gpus = 0", "local[0].gpus", "a host without its GPUs is no offer; expected 1 to 1000000, such as 8"),
    ("gpus = 4\n", "", "local[0].gpus", "missing; add gpus = … here"),
    ("gpus = 4", 'gpus = "4"', "local[0].gpus", "expected a whole number, without quotes"),
    ('"A100-80GB"', '"A100-80G"', "local[0].gpu", 'no GPU is named "A100-80G"; did you mean "A100-80GB"?'),
    (
        '{ gpus = "60000", memory = 2000, storage = 500.5 }',
        "{}",
        "local[0].parts",
        'expected what was paid for each part, such as { gpus = "60000", memory = "2000" }',
    ),
    ("memory = 2000", "memory = -1", "local[0].parts.memory", "expected an amount above zero"),
    ("3000", "0", "local[0].power_watts", "expected watts, such as 3000"),
    ("3000", "true", "local[0].power_watts", "expected watts, such as 3000"),
    ('"0.15"', '"-0.15"', "local[0].electricity_per_kwh", "expected an amount above zero"),
    ('"USD"', '"usd"', "local[0].currency", 'expected three capital letters; did you mean "USD"?'),
    (
        "gpus = 4",
        'gpus = 4\nlifetime = "3 years"',
        "local[0].lifetime",
        'expected a time such as "3y" (years of 365 days) or "900d", 50 years at most',
    ),
    (
        "gpus = 4",
        'gpus = 4\nlifetime = "51y"',
        "local[0].lifetime",
        'expected a time such as "3y" (years of 365 days) or "900d", 50 years at most',
    ),
    (
        "gpus = 4",
        "gpus = 4\nutilisation = 0",
        "local[0].utilisation",
        "expected a share of its life above 0 and at most 1, such as 0.7",
    ),
    (
        "gpus = 4",
        "gpus = 4\npue = 0.9",
        "local[0].pue",
        "expected 1 or more: energy drawn for one unit that the machine uses, such as 1.2",
    ),
    (
        "gpus = 4",
        "gpus = 4\ncost_of_capital = 8",
        "local[0].cost_of_capital",
        "expected a year's interest as a share, such as 0.08",
    ),
    ("gpus = 4", "gpus = 4\nresale = 99999", "local[0].resale", "is more than its parts cost together, 62500.5"),
    (
        "gpus = 4",
        "gpus = 4\nutilisation = 1\nidle_watts = 3001",
        "local[0].idle_watts",
        "is more than power_watts; the two are the wrong way round",
    ),
    ("gpus = 4", "gpus = 4\npower = 1", "local[0].power", 'unknown key; did you mean "power_watts"?'),
    (
        "gpus = 4",
        'gpus = 4\ntariff = [{ per_kwh = "0.2" }]',
        "local[0].tariff",
        "has electricity_per_kwh beside it; remove one or the other",
    ),
    (
        'electricity_per_kwh = "0.15"\n',
        "",
        "local[0].electricity_per_kwh",
        "missing; add electricity_per_kwh = … or tariff = … here",
    ),
    ('name = "rig"\n', "", "local[0].name", "missing; add name = … here"),
    ('"EUR"', '"Euro"', "exchange[0].from", 'expected a currency of three capital letters, such as "USD"'),
    ('from = "EUR"\n', "", "exchange[0].from", "missing; add from = … here"),
    ('"EUR"', '"USD"', "exchange[0].to", 'is "USD" like `from`; a currency needs no rate to itself'),
    ('"1.08"', '"0"', "exchange[0].rate", "expected an amount above zero"),
    (
        "as_of = 2026-11-01",
        'as_of = "2026-11-01"',
        "exchange[0].as_of",
        "expected a date without quotes, such as 2026-11-01",
    ),
]


@pytest.mark.parametrize(("old", "new", "path", "sentence"), CASES)
def test_one_problem_with_its_path_and_sentence(tmp_path: Path, old: str, new: str, path: str, sentence: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    ((problem),) = caught.value.problems
    assert (problem.path, problem.message) == (path, sentence)
    key = path.rpartition(".")[2]
    lines = [number for number, line in enumerate(text.splitlines(), 1) if f"{key} = " in line]
    header = text.splitlines().index(f"[[{path.partition('[')[0]}]]") + 1
    assert problem.line in (lines if new else [header])


def test_two_of_one_name_and_two_rates_of_one_day_are_told_with_the_first_line(tmp_path: Path) -> None:
    text = GOOD + GOOD[GOOD.index("[[local]]") :]
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert [(problem.line, problem.message) for problem in caught.value.problems] == [
        (20, '"rig" is already the name of the one on line 6; each needs its own'),
        (28, "gives the rate from EUR to USD of 2026-11-01 again (line 14); keep one"),
    ]


def test_idle_power_without_utilisation_is_a_warning(tmp_path: Path) -> None:
    config = loaded(tmp_path, GOOD.replace("gpus = 4", "gpus = 4\nidle_watts = 100"))
    assert "counts only together with utilisation" in " ".join(str(problem) for problem in config.warnings)


NIGHT = '{ per_kwh = "0.10", from = "22:00", to = "06:00" }'
WEEKEND = '{ per_kwh = 0.16, days = ["sun", "sat"] }'
REST = '{ per_kwh = "0.24" }'


@pytest.mark.parametrize(
    ("rates", "mean"),
    [
        ([REST], "0.24"),
        # 8 of 24 hours at night.
        ([NIGHT, REST], f"{(8 * Fraction(10, 100) + 16 * Fraction(24, 100)) / 24}"),
        # 56 hours of nights, 32 of the weekend by day, 80 others.
        ([NIGHT, WEEKEND, REST], f"{Fraction(56 * 10 + 32 * 16 + 80 * 24, 168 * 100)}"),
        ([WEEKEND, NIGHT, REST], f"{Fraction(48 * 16 + 40 * 10 + 80 * 24, 168 * 100)}"),
        ([REST, NIGHT], "0.24"),
        # 31 of 365 days.
        (['{ per_kwh = "0.30", months = ["dec"] }', REST], f"{Fraction(31 * 30 + 334 * 24, 365 * 100)}"),
    ],
)
def test_a_tariff_counts_by_the_mean_of_the_week(tmp_path: Path, rates: list[str], mean: str) -> None:
    tariff = f"tariff = [{', '.join(rates)}]"
    (rig,) = loaded(tmp_path, GOOD.replace('electricity_per_kwh = "0.15"', tariff)).local
    assert abs(Fraction(rig.electricity_per_kwh) - Fraction(mean)) <= Fraction(1, 10**12)
    if len(rates) == 1:
        assert rig.electricity_per_kwh == Decimal(mean)


@pytest.mark.parametrize(
    ("tariff", "path", "sentence"),
    [
        (
            "[]",
            "",
            'expected a list such as [{ per_kwh = "0.10", from = "22:00", to = "06:00" }, { per_kwh = "0.25" }]',
        ),
        (f"[{NIGHT}]", "", "says nothing of mon 06:00; add a last rate without times"),
        (
            '[{ per_kwh = "0.1", from = "24:00", to = "06:00" }]',
            "[0].from",
            'expected a time of day from "00:00" to "23:59"',
        ),
        ('[{ per_kwh = "0.1", from = "22:00" }]', "[0].to", "missing; a rate with `from` needs to = … too"),
        ('[{ per_kwh = "0.1", to = "06:00" }]', "[0].from", "missing; a rate with `to` needs from = … too"),
        (
            '[{ per_kwh = "0.1", from = "06:00", to = "06:00" }]',
            "[0].to",
            "is the same as `from`; leave both out for the whole day",
        ),
        (
            '[{ per_kwh = "0.1", days = ["saturday"] }]',
            "[0].days",
            'expected a list of "mon", "tue", "wed", "thu", "fri", "sat" or "sun", such as ["sat", "sun"]',
        ),
        (
            '[{ price = "0.1", per_kwh = 1 }]',
            "[0].price",
            "unknown key; the keys here are per_kwh, from, to, days, months",
        ),
        (
            f'[{{ per_kwh = "0.3", months = ["dec"] }}, {NIGHT}]',
            "",
            "says nothing of mon 06:00 in jan; add a last rate without times",
        ),
        ('[{ per_kwh = "0.3", months = ["may", "june"] }]', "[0].months", None),
        (f"[{', '.join([REST] * 51)}]", "", "has 51 rates; 50 at most"),
    ],
)
def test_a_tariff_with_a_problem(tmp_path: Path, tariff: str, path: str, sentence: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, GOOD.replace('electricity_per_kwh = "0.15"', f"tariff = {tariff}"))
    ((problem),) = caught.value.problems
    assert (problem.line, problem.path) == (11, f"local[0].tariff{path}")
    assert sentence in (None, problem.message)
