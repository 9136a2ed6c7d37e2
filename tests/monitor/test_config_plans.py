"""`[[plans]]`: what good ones become, and each problem with its line, path and sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.config import Config, load
from monitor.config.plan_tables import PhaseTable
from monitor.errors import ConfigError
from monitor.training.plan import P50, project

PRETRAIN = '{ name = "pretrain", on = "aws:p4d.24xlarge", count = 1, hours = 500, pricing = "on_demand" },'
FINETUNE = '{ name = "finetune", on = "local:rig", hours = 120, after = "pretrain" },'
VALIDATE = (
    '{ name = "validate", on = "ciuic:8xA100", hours = 20, pricing = "spot", discount = "DEEPSEEK2024", '
    'after = "finetune" },'
)
GOOD = f"""\
[[sources]]
name = "aws"
type = "aws_cloudwatch"

[[receivers]]
name = "mail"
type = "slack"
webhook_url = "env:HOOK"

[[budgets]]
name = "deepseek"
amount = "20000"
currency = "USD"
period = "quarter"

[[plans]]
name = "deepseek-ft"
budget = "deepseek"
start = 2026-12-01T00:00:00Z
quotes = "article"
phases = [
  {PRETRAIN}
  {FINETUNE}
  {VALIDATE}
]

[[local]]
name = "rig"
gpus = 4
gpu = "A100-80GB"
parts = {{ all = "64700" }}
power_watts = 3000
electricity_per_kwh = "0.15"
currency = "USD"
"""
OUTSIDE = 'gpu = "H800", gpu_hours = 100, price_per_gpu_hour = "2", currency = "USD"'
GONE = '[[discount]]\ncode = "GONE"\nseller = "Ciuic"\npercent_off = 10\nvalid_until = 2026-12-26\n'
LATER = '[[discount]]\ncode = "GONE"\nseller = "Ciuic"\npercent_off = 10\nvalid_until = 2026-12-27\n'


def loaded(directory: Path, text: str) -> Config:
    path = directory / "config.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return load(path)


def prices(directory: Path, text: str) -> None:
    path = directory / "prices.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def problems(directory: Path, text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigError) as caught:
        loaded(directory, text)
    return [(one.line, one.path, one.message) for one in caught.value.problems]


def with_phase(phase: str) -> str:
    """The good config with this in place of its first phase."""
    return GOOD.replace(PRETRAIN, f'{{ name = "pretrain", {phase} }},')


def test_the_articles_plan(tmp_path: Path) -> None:
    (plan,) = loaded(tmp_path, GOOD).plans
    assert (plan.name, plan.currency, plan.budget, plan.which) == ("deepseek-ft", "USD", "deepseek", "article")
    found = project(plan)
    assert [phase.cost for phase in found.phases] == [Decimal(16385), Decimal(54), Decimal("145.35")]
    assert found.total == Decimal("16584.35")


def test_a_plan_without_a_budget_takes_the_currency_that_all_lead_to(tmp_path: Path) -> None:
    euros = 'gpu = "H100", gpu_hours = 10, price_per_gpu_hour = "1", currency = "EUR"'
    exchange = '\n[[exchange]]\nfrom = "EUR"\nto = "USD"\nrate = "1.08"\nas_of = 2026-11-01\n'
    text = with_phase(euros).replace('budget = "deepseek"\n', "") + exchange
    (plan,) = loaded(tmp_path, text).plans
    assert plan.currency == "USD"
    assert project(plan).phases[0].cost == Decimal("10.8")


@pytest.mark.parametrize(
    ("phase", "paid", "gpu_hours", "duration"),
    [
        ('on = "aws:p4d.24xlarge", count = 2, hours = 10', 20, 160, 10),
        ('on = "aws:p4d.24xlarge", gpus = 16, hours = 10', 20, 160, 10),
        ('on = "aws:p4d.24xlarge", gpu_hours = 160, count = 2', 20, 160, 10),
        ('on = "local:rig", gpu_hours = 10', "2.5", 10, "2.5"),
        (f"{OUTSIDE}, gpus = 8", 100, 100, "12.5"),
        (OUTSIDE, 100, 100, None),
        (OUTSIDE.replace("gpu_hours", "gpus = 8, hours"), 800, 800, 100),
    ],
)
def test_how_much_work_it_is(tmp_path: Path, phase: str, paid: str, gpu_hours: str, duration: str | None) -> None:
    found = loaded(tmp_path, with_phase(phase)).plans[0].phases[0]
    assert found.paid.quantile(P50) == Decimal(paid)
    assert found.gpu_hours.quantile(P50) == Decimal(gpu_hours)
    assert (None if found.duration is None else found.duration.quantile(P50)) == (duration and Decimal(duration))


def test_a_model_with_its_efficiency_is_certain(tmp_path: Path) -> None:
    phase = 'on = "azure:ND96amsr_A100_v4", params = 7e9, tokens = 2e12, gpus = 512, mfu = 0.40'
    found = loaded(tmp_path, with_phase(phase)).plans[0].phases[0]
    # 6 x 7e9 x 2e12 operations, at 40 % of 312 TFLOP/s.
    assert found.gpu_hours.is_certain
    assert abs(found.gpu_hours.quantile(P50) - Decimal("186965.81")) < 1
    guessed = loaded(tmp_path, with_phase(phase.replace(", mfu = 0.40", ""))).plans[0].phases[0]
    assert not guessed.gpu_hours.is_certain


WRONG = [
    (
        'on = "aws:p4d.24xlarg", hours = 1',
        "on",
        'no offer is named "aws:p4d.24xlarg"; did you mean "aws:p4d.24xlarge"?',
    ),
    ('on = "local:rg", hours = 1', "on", 'no offer is named "local:rg"; did you mean "local:rig"?'),
    (
        'on = "aws:p5.48xlarge", hours = 1',
        "on",
        '"aws:p5.48xlarge" has no quote among those of quotes = "article"; choose others there',
    ),
    ("hours = 1", "on", 'missing; add on = "OFFER" (`monitor prices` lists them) or "local:NAME"'),
    (
        'on = "local:rig"',
        "",
        "does not say how much work it is; add hours = …, gpu_hours = …, or params = … and tokens = …",
    ),
    ('on = "local:rig", hours = 0', "hours", "expected above zero and at most 1,000,000, such as 500"),
    ('on = "local:rig", hours = -3', "hours", "expected above zero and at most 1,000,000, such as 500"),
    ('on = "local:rig", hours = 2e6', "hours", "expected above zero and at most 1,000,000, such as 500"),
    ('on = "local:rig", hours = true', "hours", "expected a number, such as 500"),
    ('on = "local:rig", hours = nan', "hours", "expected a number, such as 500"),
    (
        'on = "local:rig", hours = 0.0000001',
        "hours",
        "expected 0.01 or more with at most six digits after the point, such as 500",
    ),
    (
        'on = "local:rig", hours = 1, gpu_hours = 2',
        "gpu_hours",
        "says how much work it is again, beside hours; keep one",
    ),
    ('on = "local:rig", params = 7e9', "tokens", "missing; params needs tokens = … beside it"),
    ('on = "local:rig", hours = 1, mfu = 0.4', "mfu", "belongs to a phase with params and tokens; remove it"),
    (
        'on = "local:rig", params = 7e9, tokens = 1e9, mfu = 40',
        "mfu",
        "is a share, not a percentage: for 40 % write mfu = 0.4",
    ),
    (
        'on = "local:rig", params = 7e9, tokens = 1e9, mfu = 0.9',
        "mfu",
        "no dense training reaches this share of the peak; measured is 0.03 to 0.65, such as 0.40",
    ),
    (
        'on = "local:rig", params = 7e9, tokens = 1e9, mfu = "0.01"',
        "mfu",
        "no dense training reaches this share of the peak; measured is 0.03 to 0.65, such as 0.40",
    ),
    (
        'on = "local:rig", params = 7e9, tokens = 1e9, precision = "fp8"',
        "precision",
        "the A100-80GB has no FP8; leave precision out",
    ),
    (
        'on = "local:rig", params = 7e9, tokens = 1e9, layers = 3',
        "width",
        "missing; layers, width and context count together",
    ),
    (
        'on = "local:rig", params = 1e12, tokens = 1e14',
        "",
        "would take more than a century on 4 GPUs; give it more of them",
    ),
    ('on = "local:rig", hours = 1, pricing = "spot"', "pricing", "hardware of your own has no pricing; remove it"),
    ('on = "local:rig", hours = 1, count = 2', "count", "there is one of each [[local]]; remove it"),
    (
        'on = "aws:p4d.24xlarge", hours = 1, pricing = "commit_1y"',
        "pricing",
        'aws:p4d.24xlarge has no such price in these quotes; it has "on_demand" or "spot"',
    ),
    (
        'on = "aws:p4d.24xlarge", hours = 1, discount = "DEEPSEEK2024"',
        "discount",
        "DEEPSEEK2024 is a code of Ciuic, but aws:p4d.24xlarge is sold by AWS",
    ),
    (
        'on = "ciuic:8xA100", hours = 1, discount = "DEEPSEEK2025"',
        "discount",
        'no discount is named "DEEPSEEK2025"; did you mean "DEEPSEEK2024"?',
    ),
    (
        'on = "ciuic:8xA100", hours = 1, new_customer = true',
        "new_customer",
        "changes nothing without a discount; remove it",
    ),
    (
        'on = "ciuic:8xA100", hours = 1, gpus = 12',
        "gpus",
        "ciuic:8xA100 comes with 8 GPUs; expected a multiple of that",
    ),
    (
        'on = "ciuic:8xA100", hours = 1, gpus = 8, count = 1',
        "gpus",
        "says how many hosts again, beside count; keep one",
    ),
    ('on = "ciuic:8xA100", hours = 1, gpu = "H100"', "gpu", 'is "H100", but ciuic:8xA100 has A100; remove it'),
    (
        f'on = "local:rig", {OUTSIDE.replace("H800", "A100-80GB")}',
        "price_per_gpu_hour",
        "belongs to an offer outside the book, which has no `on`; remove it",
    ),
    (
        'gpu = "H800", gpu_hours = 1, currency = "USD"',
        "price_per_gpu_hour",
        "missing; an offer outside the book needs price_per_gpu_hour = …",
    ),
    (
        'on = "ciuic:8xA100", hours = 1, interruptions_per_hour = 0.1',
        "interruptions_per_hour",
        'only spot machines are taken away; add pricing = "spot"',
    ),
    (
        'on = "ciuic:8xA100", hours = 1, restart = "5m"',
        "restart",
        "counts only together with interruptions_per_hour; add that or remove this",
    ),
    (
        'on = "ciuic:8xA100", hours = 1, pricing = "spot", interruptions_per_hour = 60, checkpoint_every = "1d"',
        "interruptions_per_hour",
        "interrupted that often between two checkpoints, the work would never end",
    ),
    (
        'on = "local:rig", hours = 1, after = "x"',
        "after",
        'no phase is named "x"; the phases here are pretrain, finetune, validate',
    ),
    (
        'on = "local:rig", hours = 1, after = "validate"',
        "after",
        "the phases wait for each other in a circle: pretrain after validate after finetune after pretrain",
    ),
    (
        'on = "local:rig", hours = 1, after = "pretrain"',
        "after",
        "the phases wait for each other in a circle: pretrain after pretrain",
    ),
    ('on = "local:rig", hours = 1, start = 2026-11-01', "start", "is before the plan starts, 2026-12-01 00:00 UTC"),
    (
        'on = "aws:p4d.24xlarge", hours = 1, data_local = true',
        "data_local",
        'keeps its data on hardware of your own, which aws:p4d.24xlarge is not; choose on = "local:NAME" or remove it',
    ),
    (f"{OUTSIDE}, data_local = true", "data_local", None),
    (
        'on = "aws:p4d.24xlarge", hours = 1, needs_gpu_memory = "80GB"',
        "needs_gpu_memory",
        "is 80 GB, but each GPU of aws:p4d.24xlarge has 40; choose another",
    ),
    (
        'on = "local:rig", hours = 1, needs_gpu_memory = 81',
        "needs_gpu_memory",
        "is 81 GB, but each GPU of local:rig has 80; choose another",
    ),
    (
        'on = "local:rig", hours = 1, needs_gpu_memory = "80GiB"',
        "needs_gpu_memory",
        'expected GB for each GPU, 1 to 10,000, such as "80GB" or 80',
    ),
    ('on = "local:rig", hours = 1, needs_gpu_memory = true', "needs_gpu_memory", None),
    ('on = "local:rig", hours = 1, data_local = "yes"', "data_local", "expected true or false, without quotes"),
    ('on = "local:rig", hours = 1, hour = 1', "hour", 'unknown key; did you mean "hours"?'),
]


@pytest.mark.parametrize(("phase", "key", "sentence"), WRONG)
def test_one_problem_of_a_phase(tmp_path: Path, phase: str, key: str, sentence: str | None) -> None:
    text = with_phase(phase)
    found = problems(tmp_path, text)
    (line, path, message) = found[-1]
    assert line == next(number for number, one in enumerate(text.splitlines(), 1) if '"pretrain"' in one)
    assert path == f"plans[0].phases[0]{'.' if key else ''}{key}"
    assert sentence in (None, message)
    # Both keys of such an offer are told.
    assert len(found) == (2 if "belongs to an offer" in message else 1)


PLAN = [
    ('quotes = "article"', "deadline = 2026-12-01", "deadline", "is not after the plan starts, 2026-12-01 00:00 UTC"),
    ('quotes = "article"', 'deadline = "soon"', "deadline", None),
    ('budget = "deepseek"', 'budget = "depseek"', "budget", 'no budget is named "depseek"; did you mean "deepseek"?'),
    ('quotes = "article"', 'quotes = "old"', "quotes", None),
    ("T00:00:00Z", "T00:00:00", "start", "has no time zone; write 2026-12-01T00:00:00Z for UTC"),
    ("2026-12-01T00:00:00Z", "1066-10-14", "start", "expected a year from 1970 to 2200"),
    ('name = "deepseek-ft"', "", "name", "missing; add name = … here"),
    (
        'period = "quarter"',
        'period = "month"\neach = "account"',
        "budget",
        '"deepseek" is one budget per account; name one without `each`',
    ),
]


@pytest.mark.parametrize(("old", "new", "key", "sentence"), PLAN)
def test_one_problem_of_a_plan(tmp_path: Path, old: str, new: str, key: str, sentence: str | None) -> None:
    found = [one for one in problems(tmp_path, GOOD.replace(old, new)) if one[1].startswith("plans")]
    ((_, path, message),) = found
    assert path == f"plans[0].{key}"
    assert sentence in (None, message)


def test_constraints_that_hold_are_kept(tmp_path: Path) -> None:
    text = GOOD.replace("hours = 120,", 'hours = 120, data_local = true, needs_gpu_memory = "80 GB",')
    phase = loaded(tmp_path, text).plans[0].phases[1]
    assert (phase.data_local, phase.needs_gpu_memory) == (True, 80)
    phase = loaded(tmp_path, GOOD.replace("hours = 20,", "hours = 20, needs_gpu_memory = 80,")).plans[0].phases[2]
    assert "memory per GPU not stated, 80 GB are needed" in phase.flags


def test_a_deadline_before_the_end_is_a_warning(tmp_path: Path) -> None:
    config = loaded(tmp_path, GOOD.replace('quotes = "article"', 'quotes = "article"\ndeadline = 2026-12-20'))
    assert [one.message for one in config.warnings if one.path == "plans[0].deadline"] == [
        "is before the plan ends, 2026-12-27 16:00 UTC"
    ]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = (
        GOOD.replace("hours = 500", "hours = 0")
        .replace("local:rig", "local:big")
        .replace('"DEEPSEEK2024"', '"X"')
        .replace('budget = "deepseek"', 'budget = "x"')
    )
    assert [path for _, path, _ in problems(tmp_path, text)] == [
        "plans[0].budget",
        "plans[0].phases[0].hours",
        "plans[0].phases[1].on",
        "plans[0].phases[2].discount",
    ]


def test_two_currencies_need_an_exchange(tmp_path: Path) -> None:
    euros = 'gpu = "H100", gpu_hours = 10, price_per_gpu_hour = "1", currency = "EUR"'
    ((_, path, message),) = problems(tmp_path, with_phase(euros))
    assert path == "plans[0].phases"
    assert message == "are paid in EUR, USD, the budget is in USD; add an [[exchange]] to USD"
    ((_, _, message),) = problems(tmp_path, with_phase(euros).replace('budget = "deepseek"\n', ""))
    assert message == "are paid in EUR, USD, and no [[exchange]] leads from one to the other; add one"


def test_a_discount_must_hold_when_its_phase_starts(tmp_path: Path) -> None:
    prices(tmp_path, GONE)
    text = GOOD.replace("DEEPSEEK2024", "GONE")
    ((_, path, message),) = problems(tmp_path, text)
    assert path == "plans[0].phases[2].discount"
    assert message == "GONE ended on 2026-12-26, before this phase starts on 2026-12-26"
    prices(tmp_path, LATER)
    assert loaded(tmp_path, text).plans


def test_a_region_is_needed_where_there_are_several(tmp_path: Path) -> None:
    quote = (
        '[[quote]]\noffer = "me:1"\nseller = "me"\ngpu = "H100"\ngpus = 8\ncurrency = "USD"\nas_of = 2026-11-01\n'
        'source = "here"\nregion = "{}"\non_demand = "{}"\n'
    )
    prices(tmp_path, quote.format("a", 1) + quote.format("b", 2))
    text = GOOD.replace('quotes = "article"\n', "").replace(PRETRAIN, '{ name = "pretrain", on = "me:1", hours = 1 },')
    ((_, path, message),) = problems(tmp_path, text)
    assert path == "plans[0].phases[0].region"
    assert message == 'missing; me:1 is quoted in several: add region = "a" or "b"'
    assert project(loaded(tmp_path, text.replace('"me:1"', '"me:1", region = "b"')).plans[0]).phases[0].cost == 2


def test_the_newest_quote_at_the_start_counts_and_says_its_age(tmp_path: Path) -> None:
    text = GOOD.replace('quotes = "article"\n', "").replace("2026-12-01T00:00:00Z", "2027-12-01")
    phase = loaded(tmp_path, text).plans[0].phases[0]
    assert any(flag.endswith("days old") for flag in phase.flags)
    assert loaded(tmp_path, text).plans[0].start == datetime(2027, 12, 1, tzinfo=UTC)


def test_problems_of_the_price_file_are_told_with_those_of_the_config(tmp_path: Path) -> None:
    prices(tmp_path, "[[quote]]\n")
    found = problems(tmp_path, GOOD.replace("hours = 500", "hours = 0"))
    assert found[0][1] == "plans[0].phases[0].hours"
    assert any(path.startswith("quote[0]") for _, path, _ in found)


def test_what_cannot_be_multiplied_exactly_is_refused(tmp_path: Path) -> None:
    digits = OUTSIDE.replace('"2"', '"999999999999999.123456789012345678"').replace("= 100", "= 999999.123456")
    ((_, path, message),) = problems(tmp_path, with_phase(digits))
    assert path == "plans[0].phases"
    assert message.endswith("be multiplied exactly; round them")


def test_a_plan_that_never_ends_is_refused(tmp_path: Path) -> None:
    rows = ['{ name = "p0", on = "local:rig", hours = 1000000 }']
    rows += [f'{{ name = "p{n}", on = "local:rig", hours = 1000000, after = "p{n - 1}" }}' for n in range(1, 80)]
    phases = ",\n".join(rows)
    text = GOOD[: GOOD.index("phases = [")] + f"phases = [{phases}]\n" + GOOD[GOOD.index("\n[[local]]") :]
    ((_, _, message),) = problems(tmp_path, text)
    assert message == "end after the year 9999; give them fewer hours or more machines"


def test_a_broken_local_is_told_once(tmp_path: Path) -> None:
    text = GOOD.replace("power_watts", "parts_ = 1\npower_watts")
    assert [path for _, path, _ in problems(tmp_path, text)] == ["local[0].parts_"]
    text = GOOD.replace("[[local]]", "[local]")
    assert [path for _, path, _ in problems(tmp_path, text)] == ["local"]


def test_what_comes_after_a_phase_that_cannot_be_looked_up_makes_no_trouble(tmp_path: Path) -> None:
    text = GOOD.replace("[[local]]", "[local]").replace("hours = 20", "hours = 0")
    assert [path for _, path, _ in problems(tmp_path, text)] == ["plans[0].phases[2].hours", "local"]


# What may stand in a phase: right, wrong, and absurd.
_NUMBERS = ["0", "1", "-1", "500", "1000000", "1e9", "1e-30", "9e99", "nan", "inf", '"1.5"', '"999999999999999"']
_NAMES = [
    "aws:p4d.24xlarge",
    "local:rig",
    "spot",
    "A100",
    "H800",
    "USD",
    "EUR",
    "fp8",
    "validate",
    "DEEPSEEK2024",
    "60m",
]
_OTHERS = ["true", "2026-12-24", "[]", "{}", '""', '"x"']
_VALUES = st.sampled_from([*_NUMBERS, *(f'"{name}"' for name in _NAMES), *_OTHERS])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(PhaseTable.model_fields)), _VALUES, max_size=8))
def test_whatever_stands_in_a_phase_is_a_plan_or_a_sentence(tmp_path: Path, keys: dict[str, str]) -> None:
    phase = ", ".join(f"{key} = {value}" for key, value in keys.items())
    text = GOOD.replace(PRETRAIN, f"{PRETRAIN} {{ {phase} }},")
    try:
        plans = loaded(tmp_path, text).plans
    except ConfigError as error:
        told = error.problems
    else:
        told = []
        assert project(plans[0]).total > 0
    assert all(problem.path.startswith("plans[0]") and problem.line for problem in told)


def test_what_costs_more_than_there_is_is_refused(tmp_path: Path) -> None:
    dear = OUTSIDE.replace('"2"', '"999999999999999"')
    ((_, path, message),) = problems(tmp_path, with_phase(dear))
    assert path == "plans[0].phases"
    assert message == "cost more than fifteen digits can say; something in them is too large"
