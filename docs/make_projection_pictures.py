"""Writes docs/plan.svg and docs/offers.svg anew: what `--plot` draws of a plan that has run for three weeks.

    python docs/make_projection_pictures.py

Plan, hardware and budget are made up, the prices are the article's; so are the bills, which were put into a store.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from alarms.model import Period
from monitor.model import Batch, Charge, Series
from monitor.store.charges import replace
from monitor.store.database import open_store
from monitor.store.facts import SourceClock, write_clock

HERE = Path(__file__).parent
START = datetime(2026, 11, 1, tzinfo=UTC)
# (days, the least that each of them cost)
COSTS = ((8, 7000), (10, 6000), (2, 100))
DAYS = sum(days for days, _ in COSTS)
CONFIG = """\
[[sources]]
name = "aws"
type = "aws_cloudwatch"

[[budgets]]
name = "llama"
amount = "150000"
currency = "USD"
period = "quarter"
receivers = []

[[plans]]
name = "llama-7b"
budget = "llama"
start = 2026-11-01
quotes = "article"
phases = [
  { name = "pretrain", on = "aws:p4d.24xlarge", gpus = 256, params = 7e9, tokens = 5e11, pricing = "spot", \
interruptions_per_hour = 0.2, checkpoint_every = "30m" },
  { name = "context", on = "azure:ND96amsr_A100_v4", count = 8, hours = 240, after = "pretrain" },
  { name = "tune", on = "local:rig", hours = 200, after = "context" },
]

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


def main() -> None:
    """Draw both."""
    with tempfile.TemporaryDirectory(prefix="monitor-pictures-") as name:
        directory = Path(name)
        config = directory / "config.toml"
        config.write_text(CONFIG, encoding="utf-8")
        config.chmod(0o600)
        fill(directory / "state")
        draw(directory, "plan", "llama-7b", "--plot", str(HERE / "plan.svg"))
        rig = ("compare", "--hours", "500", "--on", "local:rig", "--quotes", "article")
        draw(directory, *rig, "--plot", str(HERE / "offers.svg"))


def fill(state: Path) -> None:
    """What each day cost by the bills."""
    state.mkdir(mode=0o700)
    series = Series("aws", "USD")
    days = [Period(START + timedelta(days=n), START + timedelta(days=n + 1)) for n in range(DAYS)]
    costs = [low + n * 7919 % 800 for count, low in COSTS for n in range(count)]
    charges = tuple(Charge(series, day, Decimal(cost)) for cost, day in zip(costs, days, strict=True))
    whole = Period(days[0].start, days[-1].end)
    with open_store(state) as store, store.transaction() as tx:
        replace(tx, series.source, Batch(charges, {series: whole}, data_as_of=whole.end), whole.end)
        write_clock(tx, SourceClock(series.source, last_poll=whole.end, data_as_of=whole.end))


def draw(directory: Path, *arguments: str) -> None:
    """Run the command; a plan that does not fit is drawn all the same."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-m", "monitor", *arguments, "--json"]
    done = subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL, check=False)  # noqa: S603 - our own program
    if done.returncode not in (0, 2):
        raise SystemExit("the command failed")


if __name__ == "__main__":
    main()
