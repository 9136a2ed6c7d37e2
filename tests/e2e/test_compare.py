"""`monitor compare` and `monitor prices` as a person types them: figures, tables, mistakes, and what they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """
[[sources]]
name = "aws"
type = "aws_cloudwatch"

[[local]]
name = "rig"
gpus = 4
gpu = "A100-80GB"
parts = { gpus = "60000", memory = "2000", storage = "500", cpu = "1000", motherboard = "500", case_power = "300", \
cooling = "400" }
power_watts = 3000
electricity_per_kwh = "0.15"
currency = "USD"
lifetime = "3y"
"""
DISCOUNT = '[[discount]]\ncode = "GONE"\nseller = "Ciuic"\npercent_off = 10\nvalid_until = 2020-01-01\n'
P4D = ("compare", "--hours", "500", "--on", "aws:p4d.24xlarge", "--quotes", "article")


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with nothing in the environment and a config only if it is in the directory."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(directory)}
    environment |= {name: os.environ[name] for name in ("MPLCONFIGDIR",) if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "monitor", *arguments],
        cwd=directory,
        env=environment,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def answer(directory: Path, *arguments: str) -> dict[str, Any]:
    done = run(directory, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "config.toml").chmod(0o600)
    return tmp_path


def test_the_articles_rig_beside_the_articles_offers(configured: Path) -> None:
    document = answer(configured, "compare", "--hours", "500", "--on", "local:rig", "--quotes", "article")
    assert document["schema"] == 1
    assert document["work"] == {"gpu_hours": "2000", "gpu": "A100-80GB"}
    (rig,) = document["local"]
    assert {key: rig[key] for key in ("name", "hours", "hardware", "running_per_hour", "running", "cost")} == {
        "name": "rig",
        "hours": "500",
        "hardware": "64700",
        "running_per_hour": "0.45",
        "running": "225.00",
        "cost": "64925.00",
    }
    assert rig["amortised_cost"] == "1455.974125"
    p4d = next(row for row in rig["break_even"] if (row["on"], row["pricing"]) == ("aws:p4d.24xlarge", "on_demand"))
    assert (p4d["hours_of_use"], p4d["calendar"], p4d["utilisation"]) == ("4060.25", "169.18d", "0.1545")
    # As much work as 500 hours of the rig's four.
    hours = {row["on"]: row["hours"] for row in document["offers"]}
    assert hours["aws:p4d.24xlarge"] == "250"
    assert hours["gcp:a2-megagpu-16g"] == "125"


def test_five_hundred_hours_of_the_articles_p4d(tmp_path: Path) -> None:
    document = answer(tmp_path, *P4D)
    assert document["local"] == []
    row = next(row for row in document["offers"] if (row["on"], row["pricing"]) == ("aws:p4d.24xlarge", "on_demand"))
    assert (row["hours"], row["rate_per_hour"], row["cost"], row["expected_cost"]) == (
        "500",
        "32.77",
        "16385.00",
        "16385.00",
    )
    assert row["quote"] == {"source": "the article's price table (undated)", "as_of": None}
    costs = [Decimal(row["expected_cost"]) for row in document["offers"]]
    assert costs == sorted(costs)


def test_a_discount_and_interruptions(tmp_path: Path) -> None:
    asked = ("compare", "--hours", "100", "--on", "ciuic:8xA100", "--quotes", "article", "--discount", "DEEPSEEK2024")
    first = answer(tmp_path, *asked, "--new-customer", "--interruptions-per-hour", "0.1", "--restart", "6m")
    costs = {row["pricing"]: row for row in first["offers"] if row["on"] == "ciuic:8xA100"}
    assert costs["on_demand"]["cost"] == "1425.00"
    assert costs["spot"]["cost"] == "427.50"
    assert costs["spot"]["expected_cost"].startswith("454.12")
    assert {
        row["pricing"]: row["cost"] for row in answer(tmp_path, *asked)["offers"] if row["on"] == "ciuic:8xA100"
    } == {
        "on_demand": "2422.50",
        "spot": "726.75",
    }


PLAN = """
[[plans]]
name = "ft"
start = 2026-12-01
quotes = "article"
deadline = 2026-12-21
phases = [
  { name = "pretrain", on = "azure:ND96amsr_A100_v4", hours = 500, needs_gpu_memory = "80GB" },
  { name = "finetune", on = "local:rig", hours = 120, after = "pretrain" },
  { name = "validate", on = "ciuic:8xA100", hours = 20, discount = "DEEPSEEK2024", after = "finetune" },
]
"""


@pytest.fixture
def planned(configured: Path) -> Path:
    with (configured / "config.toml").open("a") as file:
        file.write(PLAN)
    return configured


def test_the_work_of_a_plan_and_what_speaks_for_and_against(planned: Path) -> None:
    found = answer(planned, "compare", "ft")
    assert found["work"] == {
        "gpu_hours": "4640",
        "gpu": "A100-80GB",
        "plan": "ft",
        "phases": [
            {"name": "pretrain", "gpu_hours": "4000", "gpu": "A100-80GB"},
            {"name": "finetune", "gpu_hours": "480", "gpu": "A100-80GB"},
            {"name": "validate", "gpu_hours": "160", "gpu": "A100"},
        ],
        "data_local": [],
        "needs_gpu_memory": {"pretrain": 80},
        "deadline": "2026-12-21T00:00:00Z",
        "within_hours": "480",
        "gpus_at_a_time": 8,
        "idle": "0",
    }
    rows = {(row["on"], row["pricing"]): row for row in found["offers"]}
    assert list(rows)[-1] == ("aws:p4d.24xlarge", "on_demand")
    assert rows["aws:p4d.24xlarge", "spot"]["ruled_out"] == ["40 GB per GPU, 80 are needed by pretrain"]
    azure = rows["azure:ND96amsr_A100_v4", "on_demand"]
    assert (azure["hours"], azure["cost"], azure["ruled_out"]) == ("580", "20010.00", [])
    assert azure["reasons"] == {
        "for": [
            "nothing to buy, paid by the hour",
            "elastic: 2 at a time take 290 h, the deadline leaves 480",
        ],
        "against": [],
    }
    # The code of the phase that has one counts for its seller, and for no other.
    assert rows["ciuic:8xA100", "on_demand"]["cost"] == "14050.50"
    (rig,) = found["local"]
    assert (rig["owned"], rig["to_pay"], rig["cost"]) == (False, "65222.00", "65222.00")
    assert "cannot grow: it has 4 GPUs, the plan takes up to 8 at a time" in rig["reasons"]["against"]
    assert {(point["on"]) for point in rig["break_even"]} == {"azure:ND96amsr_A100_v4", "ciuic:8xA100"}


def test_the_text_of_a_plans_work_fits_80_columns_and_says_what_is_ruled_out(planned: Path) -> None:
    done = run(planned, "compare", "ft")
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    text = " ".join(done.stdout.split())
    assert "Ruled out, for 40 GB per GPU, 80 are needed by pretrain: gcp:a2-megagpu-16g, aws:p4d.24xlarge." in text
    assert "FOR (+) AND AGAINST (-) ciuic:8xA100, spot + nothing to buy" in text
    wrong = run(planned, "compare", "ft", "--hours", "5")
    assert wrong.returncode == 64
    assert "the plan says what the work is; leave out --hours" in wrong.stderr


@pytest.mark.parametrize("more", [(), ("--interruptions-per-hour", "0.1")])
def test_the_tables_fit_eighty_columns(configured: Path, more: tuple[str, ...]) -> None:
    done = run(configured, "compare", "--gpu-hours", "9999999999.5", "--gpu", "h100", *more)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    assert "Not counted, for it is not stated: utilisation, pue" in done.stdout
    listed = run(configured, "prices")
    assert [line for line in listed.stdout.splitlines() if len(line) > 80] == []
    assert "raw.githubusercontent.com/…/hyperscalers.json" in listed.stdout
    assert "Addresses are shortened here; --json has them whole." in listed.stdout


def test_prices_say_where_they_are_from_and_of_when(tmp_path: Path) -> None:
    rows = answer(tmp_path, "prices", "list")["quotes"]
    assert {row["quote"]["as_of"] is None for row in rows} == {True, False}
    for row in rows:
        assert row["quote"]["source"]
        assert ("undated" in row["flags"]) == (row["quote"]["as_of"] is None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compare"], "say what the work is: --gpu-hours N --gpu MODEL, or --hours N --on OFFER"),
        (["compare", "--hours", "5"], "say what the work is"),
        (["compare", "--hours", "5", "--on", "x", "--gpu", "H100"], "--gpu goes with --gpu-hours; leave it out"),
        (["compare", "--gpu-hours", "5", "--gpu", "H100", "--on", "x"], "--on goes with --hours; leave it out"),
        (["compare", "deepsek"], 'no plan is named "deepsek"; there are no plans here'),
        (["compare", "--gpu-hours", "5", "--gpu", "H1000"], 'no GPU is named "H1000"; did you mean "H100"?'),
        (
            ["compare", "--hours", "5", "--on", "aws:p4d.24xlarg"],
            'no offer is named "aws:p4d.24xlarg"; did you mean "aws:p4d.24xlarge"?',
        ),
        (
            ["compare", "--hours", "0", "--on", "ciuic:8xA100"],
            "--hours 0: expected at least 0.01 and at most 1,000,000",
        ),
        (["compare", "--hours=-5", "--on", "ciuic:8xA100"], "--hours -5: expected at least 0.01"),
        (
            ["compare", "--hours", "1e9", "--on", "ciuic:8xA100"],
            "--hours: expected a plain number such as 500, not '1e9'",
        ),
        (["compare", "--hours", "NaN", "--on", "ciuic:8xA100"], "expected a plain number such as 500, not 'NaN'"),
        (["compare", "--gpu-hours", "99999999999", "--gpu", "H100"], "at most 10,000,000,000"),
        (["compare", "--gpu-hours", "1.1234567", "--gpu", "H100"], "at most six digits after the point"),
        ([*P4D, "--discount", "DEEPSEEK2025"], 'no discount is named "DEEPSEEK2025"; did you mean "DEEPSEEK2024"?'),
        ([*P4D, "--discount", "GONE"], "the discount GONE ended on 1 Jan 2020"),
        ([*P4D, "--new-customer"], "--new-customer changes nothing without a --discount"),
        ([*P4D, "--restart", "5m"], "--checkpoint-every and --restart need --interruptions-per-hour"),
        ([*P4D, "--interruptions-per-hour", "50", "--checkpoint-every", "1h"], "the work would never end"),
        ([*P4D, "--interruptions-per-hour", "61"], "expected 0 to 60 an hour, not 61"),
        (["compare", "--quotes", "yesterday"], "'yesterday' is not current, article or a date such as 2026-11-01"),
        (["prices", "refresh"], "prices refresh is not in this version"),
    ],
)
def test_a_mistake_is_one_sentence_and_64(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "prices.toml").write_text(DISCOUNT)
    (tmp_path / "config.toml").write_text(CONFIG)
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    done = run(tmp_path, *arguments)
    assert done.returncode == 64
    lines = [line for line in done.stderr.splitlines() if "(warning)" not in line]
    assert len(lines) == 1
    assert said in lines[0]


def test_a_named_config_must_be_there_and_a_broken_one_is_78(tmp_path: Path) -> None:
    assert run(tmp_path, "--config", "gone.toml", *P4D).returncode == 78
    (tmp_path / "config.toml").write_text(CONFIG.replace("3000", "0"))
    (tmp_path / "config.toml").chmod(0o600)
    done = run(tmp_path, *P4D)
    assert done.returncode == 78
    assert "local[0].power_watts: expected watts" in done.stderr


def test_amounts_that_cannot_be_multiplied_exactly_are_refused(configured: Path) -> None:
    many = CONFIG.replace('"0.15"', '"0.123456789012345678"\npue = "1.123456789012345678"\nwall_factor = "1.01"')
    (configured / "config.toml").write_text(many)
    done = run(configured, *P4D)
    assert done.returncode == 65
    assert "cannot be multiplied exactly" in done.stderr


def test_check_config_looks_at_prices_toml_too(configured: Path) -> None:
    (configured / "prices.toml").write_text("[[quotes]]\n")
    (configured / "prices.toml").chmod(0o600)
    done = run(configured, "check-config")
    assert done.returncode == 78
    assert 'prices.toml:1: quotes: unknown key; did you mean "quote"?' in done.stdout


def test_no_sdk_and_no_network_is_touched(configured: Path) -> None:
    program = (
        "import socket, sys\n"
        "socket.socket.connect = None\n"
        "from monitor.arguments import run\n"
        f"code = run({list(P4D)!r})\n"
        "heavy = {'boto3', 'botocore', 'apscheduler', 'slack_sdk', 'sqlite3'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=configured,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
