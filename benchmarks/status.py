"""`status`: the time of `monitor status` with a large ledger, against Python that does nothing, and `aws --version`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

from alarms.model import Period
from benchmarks.measure import Comparison, Report, environment, interleaved, wall_ms
from monitor.config import load
from monitor.cycle import Cycle
from monitor.model import Batch, Charge, Series, Window
from monitor.store.database import open_store
from monitor.store.outbox import StoredOutbox

TARGET = 3.5
_START = datetime(2026, 11, 1, tzinfo=UTC)
_NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
_PER_SERIES = 250
_BUDGETS = 10
_CONFIG = """\
[monitor]
state_dir = "state"

[[sources]]
name = "aws"
type = "aws_cloudwatch"
by = ["service", "account"]
"""
_BUDGET = """
[[budgets]]
name = "budget {number}"
amount = "1000000"
currency = "USD"
period = "month"
scope = {{ service = ["Service{number}"] }}
thresholds = [
  {{ on = "actual", at = "80%", severity = "warning" }},
  {{ on = "actual", at = "100%", severity = "critical" }},
]
"""


class _Rows:
    """A source that brings so many charges at once."""

    name = "aws"

    def __init__(self, count: int) -> None:
        self._count = count

    def windows(self, now: datetime, *_: object) -> Sequence[Window]:
        return [Window(Period(_START, now))]

    def fetch(self, window: Window) -> Batch:
        periods = [
            Period(_START + k * timedelta(hours=1), _START + (k + 1) * timedelta(hours=1)) for k in range(_PER_SERIES)
        ]
        series = [
            Series("aws", "USD", f"{number // 20:012}", f"Service{number % 20}")
            for number in range(-(-self._count // _PER_SERIES))
        ]
        charges = tuple(Charge(one, period, Decimal("1.25")) for one in series for period in periods)
        return Batch(charges[: self._count], dict.fromkeys(series, window.period), window.period.end)

    def probe(self) -> str:
        return ""


def run(*, quick: bool) -> Report:
    """The daemon is not running; the facts are those of a turn over all of the ledger."""
    rows, rounds = (5_000, 2) if quick else (500_000, 30)
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as directory:
        config = _fill(Path(directory), rows)
        asked = ("--config", str(config), "status", "--as-of", _NOW.isoformat())
        installed = shutil.which("monitor", path=str(Path(sys.executable).parent))
        aws = shutil.which("aws")
        commands = {
            "python -c pass": (sys.executable, "-c", "pass"),
            "python -m monitor status": (sys.executable, "-m", "monitor", *asked),
            **({"monitor status": (installed, *asked)} if installed else {}),
            **({"aws --version": (aws, "--version")} if aws else {}),
        }
        clean = environment()
        samples = interleaved({name: partial(wall_ms, words, clean) for name, words in commands.items()}, rounds)
    ours = [name for name in samples if name.endswith("monitor status")]
    compared = [
        Comparison(name, "python -c pass", "ms", samples[name], samples["python -c pass"], TARGET) for name in ours
    ]
    if aws:
        compared += [Comparison(name, "aws --version", "ms", samples[name], samples["aws --version"]) for name in ours]
    notes = [f"status: {rows:,} charges in the ledger, {_BUDGETS} budgets, state OK."]
    notes += [] if installed else ["status: the console script `monitor` is not installed beside this Python."]
    notes += [] if aws else ["status: there is no `aws` on PATH."]
    return Report(compared, notes)


def _fill(directory: Path, rows: int) -> Path:
    path = directory / "config.toml"
    path.write_text(_CONFIG + "".join(_BUDGET.format(number=n) for n in range(_BUDGETS)), encoding="utf-8")
    path.chmod(0o600)
    config = load(path)
    with open_store(config.monitor.state_dir) as store:
        Cycle(config, [_Rows(rows)], store, StoredOutbox(store)).turn(_NOW, everything=True)
    return path
