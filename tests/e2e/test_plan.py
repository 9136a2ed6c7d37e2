"""`monitor plan` as a person types it: figures, exit codes, tables, mistakes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from alarms.model import Period
from monitor.model import Batch, Charge, Series
from monitor.store.charges import replace
from monitor.store.database import open_store
from tests.e2e.test_compare import CONFIG, run

PLANS = """
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
  { name = "pretrain", on = "aws:p4d.24xlarge", count = 1, hours = 500, pricing = "on_demand" },
  { name = "finetune", on = "local:rig", hours = 120, after = "pretrain" },
  { name = "validate", on = "ciuic:8xA100", hours = 20, pricing = "spot", discount = "DEEPSEEK2024", \
after = "finetune" },
]

[[plans]]
name = "deepseek-v3"
start = 2024-10-01
phases = [
  { name = "pretrain", gpu = "H800", gpu_hours = 2664000, gpus = 2048, price_per_gpu_hour = "2", currency = "USD" },
  { name = "context", gpu = "H800", gpu_hours = 119000, price_per_gpu_hour = "2", currency = "USD", \
after = "pretrain" },
  { name = "post", gpu = "H800", gpu_hours = 5000, price_per_gpu_hour = "2", currency = "USD", after = "context" },
]

[[plans]]
name = "model"
start = 2026-12-01
phases = [
  { name = "llama", params = 7e9, tokens = 2e12, on = "aws:p4d.24xlarge", gpus = 512 },
  { name = "a phase with a long name", on = "aws:p4d.24xlarge", hours = 100, pricing = "spot", \
interruptions_per_hour = 0.05, after = "llama", scope = "project" },
]
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(tmp_path, CONFIG + PLANS)
    return tmp_path


def write(directory: Path, text: str) -> None:
    (directory / "config.toml").write_text(text)
    (directory / "config.toml").chmod(0o600)


def plan(directory: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = run(directory, "plan", *arguments, "--json")
    assert done.returncode == code, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["schema"] == 1
    found: dict[str, Any] = document["plans"][0]
    return found


def test_the_articles_plan(directory: Path) -> None:
    found = plan(directory, "deepseek-ft")
    assert [found[key] for key in ("currency", "total", "p10", "p50", "p90")] == ["USD", *["16584.35"] * 4]
    assert (found["left_in_budget"], found["fits"]) == ("20000.00", True)
    keys = ("name", "on", "pricing", "hours", "gpu_hours", "rate_per_hour", "cost", "amortised")
    assert [tuple(phase[key] for key in keys) for phase in found["phases"]] == [
        ("pretrain", "aws:p4d.24xlarge", "on_demand", "500", "4000", "32.77", "16385.00", "0"),
        ("finetune", "local:rig", None, "120", "480", "0.45", "54.00", "295.43379"),
        ("validate", "ciuic:8xA100", "spot", "20", "160", "7.2675", "145.35", "0"),
    ]
    assert found["phases"][0]["quote"] == {"source": "the article's price table (undated)", "as_of": None}
    assert found["curve"][0] == {"at": "2026-12-01T00:00:00Z", "planned": "0.00"}
    assert found["curve"][1] == {"at": "2026-12-21T20:00:00Z", "planned": "16385.00"}
    assert found["curve"][-1] == {"at": "2026-12-27T16:00:00Z", "planned": "16584.35"}


def test_deepseek_v3_is_5_576_000_exactly(directory: Path) -> None:
    found = plan(directory, "deepseek-v3")
    assert [found[key] for key in ("total", "p10", "p90", "fits", "left_in_budget")] == [
        *["5576000.00"] * 3,
        None,
        None,
    ]
    assert [phase["hours"] for phase in found["phases"]] == ["1300.78125", None, None]


def test_a_model_has_a_spread_and_says_where_it_comes_from(directory: Path) -> None:
    found = plan(directory, "model")
    assert Decimal(found["p10"]) < Decimal(found["p50"]) < Decimal(found["p90"])
    assert found["spread_from"] == ["llama (MFU)", "a phase with a long name (interruptions)"]
    assert found["phases"][1]["scope"] == "project"


def test_a_budget_that_does_not_hold_it_ends_with_2_and_says_what_would(directory: Path) -> None:
    write(directory, (CONFIG + PLANS).replace('"20000"', '"10000"'))
    found = plan(directory, "deepseek-ft", code=2)
    assert (found["fits"], found["left_in_budget"]) == (False, "10000.00")
    assert found["would_fit"][0] == {"phase": "pretrain", "hours": "299"}
    done = run(directory, "plan")
    assert done.returncode == 2
    assert "DOES NOT FIT: P90 is 16,584.35 USD, 6,584.35 USD more than the 10,000.00 USD" in " ".join(
        done.stdout.split()
    )
    assert "- pretrain for at most 299 hours" in done.stdout


def test_what_the_ledger_has_booked_is_not_left(directory: Path) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = (now - timedelta(days=1)).replace(hour=0)
    text = (CONFIG + PLANS).replace("2026-12-01T00:00:00Z", start.isoformat().replace("+00:00", "Z"))
    # A period that the plan is in whatever the day.
    until = start + timedelta(days=400)
    text = text.replace('period = "quarter"', f"start = {start:%Y-%m-%d}\nend = {until:%Y-%m-%d}")
    write(directory, text)
    (directory / "state").mkdir(mode=0o700)
    period = Period(start, start + timedelta(hours=1))
    with open_store(directory / "state") as store, store.transaction() as tx:
        for series, cost in (
            (Series("aws", "USD"), "5000.01"),
            (Series("aws", "EUR"), "9000"),
            (Series("gone", "USD"), "9000"),
        ):
            batch = Batch((Charge(series, period, Decimal(cost)),), {series: period}, data_as_of=period.end)
            replace(tx, series.source, batch, now)
    before = (directory / "state" / "ledger.db").read_bytes()
    found = plan(directory, "deepseek-ft", code=2)
    assert (found["left_in_budget"], found["fits"]) == ("14999.99", False)
    assert (directory / "state" / "ledger.db").read_bytes() == before


def test_the_tables_stay_within_80_columns(directory: Path) -> None:
    done = run(directory, "plan")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    assert "P10, P50 and P90 are the total" in done.stdout
    assert "hours of the whole project" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["plan", "deepsek-ft"], 64, 'no plan is named "deepsek-ft"; did you mean "deepseek-ft"?'),
    ],
)
def test_mistakes_are_one_sentence(directory: Path, arguments: list[str], code: int, sentence: str) -> None:
    done = run(directory, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.splitlines()[-1] == f"monitor: {sentence}"


def test_a_config_without_plans_has_an_empty_answer(directory: Path) -> None:
    write(directory, CONFIG)
    done = run(directory, "plan", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"schema": 1, "plans": []})
    assert "no [[plans]]" in run(directory, "plan").stdout


def test_the_help_has_examples(directory: Path) -> None:
    done = run(directory, "plan", "--help")
    assert done.returncode == 0
    assert "monitor plan deepseek-ft" in done.stdout
