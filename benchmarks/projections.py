"""`projections`: plans over a book of 5,000 quotes, against numpy; and `monitor compare`, against its imports alone.

numpy does the multiplications and additions that a plan is made of, in binary floating point: price x hours of each
phase, the sum of each plan, the running sums of its curve. Ours does them in exact decimal, chooses the quotes that are
known when a plan starts, and says when each phase runs, P10 to P90 and what is to be said of it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

from benchmarks.measure import Comparison, Report, environment, interleaved, wall_ms
from monitor.training.book import PriceBook
from monitor.training.catalog import gpus
from monitor.training.compare import compare
from monitor.training.costs import Terms, Work
from monitor.training.model import Pricing, Quote, Spread
from monitor.training.plan import P10, P50, P90, Phase, Plan, project

PROCESS_TARGET = 2.0
_START = datetime(2026, 1, 1, tzinfo=UTC)
_GPUS = ("A100-40GB", "A100-80GB", "H100", "H200", "B200")
_PER_OFFER = 4
_PHASES = 3
_LIST_MODULES = """\
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from monitor.cli import main
sys.exit(main())
"""
# Names such as os.path or six.moves are no modules of their own.
_TRY_EACH = """\
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ImportError:
        continue
    print(name)
"""
_CONFIG = """\
[[sources]]
name = "aws"
type = "aws_cloudwatch"

[[local]]
name = "rig"
gpus = 4
gpu = "A100-80GB"
parts = { all = "64700" }
power_watts = 3000
electricity_per_kwh = "0.15"
currency = "USD"

[[plans]]
name = "ft"
start = 2026-12-01
phases = [{ name = "all", on = "local:rig", hours = 500 }]
"""
_ASKED = ("compare", "--hours", "500", "--on", "aws:p4d.24xlarge")


@dataclass(frozen=True, slots=True)
class _Wish:
    """A plan before its quotes are looked up: offers and hours, one after the other."""

    start: datetime
    rows: Sequence[tuple[str, Decimal]]


def run(*, quick: bool) -> Report:
    """Both; numpy is there with the extra `plots`."""
    plans, quotes, rounds = (20, 200, 2) if quick else (1000, 5000, 15)
    processes, notes = _processes(2 if quick else 20)
    try:
        compared, more = _arithmetic(plans, quotes, rounds)
    except ModuleNotFoundError as error:
        return Report(
            processes, [*notes, f"projections: {error.name} is not installed, so nothing is held against it."]
        )
    return Report([*processes, *compared], [*notes, *more])


def _processes(rounds: int) -> tuple[list[Comparison], list[str]]:
    """`monitor compare` from its start to its end: without a config, and for the plan of one."""
    clean = environment()
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name:
        # Where they run there is no config.toml, which would be read.
        config = Path(name) / "plans.toml"
        config.write_text(_CONFIG, encoding="utf-8")
        config.chmod(0o600)
        asked = {
            "monitor compare": _ASKED,
            "monitor compare NAME": ("--config", str(config), "compare", "ft"),
        }
        modules = {what: _modules(words, clean, Path(name)) for what, words in asked.items()}
        contenders: dict[str, Callable[[], float]] = {}
        for what, words in asked.items():
            command = (sys.executable, "-m", "monitor", *words)
            imports = (sys.executable, "-c", "\n".join(f"import {module}" for module in modules[what]))
            contenders[what] = partial(wall_ms, command, clean, cwd=Path(name))
            contenders[f"imports of {what}"] = partial(wall_ms, imports, clean, cwd=Path(name))
        samples = interleaved(contenders, rounds)
    compared = [
        Comparison(what, "the same imports", "ms", samples[what], samples[f"imports of {what}"], PROCESS_TARGET)
        for what in asked
    ]
    sizes = " and ".join(str(len(names)) for names in modules.values())
    note = f"compare: on the book that ships, without a config and for the plan of one; {sizes} modules are imported."
    return compared, [note]


def _modules(words: Sequence[str], clean: Mapping[str, str], cwd: Path) -> list[str]:
    """What such a command imports, as far as it can be imported by name."""
    listing = (sys.executable, "-c", _LIST_MODULES, *words)
    done = subprocess.run(listing, env=dict(clean), cwd=cwd, capture_output=True, text=True, check=True)
    found = json.loads(done.stderr.splitlines()[-1])
    names = [name for name in found if name != "__main__" and all(part.isidentifier() for part in name.split("."))]
    trying = (sys.executable, "-c", _TRY_EACH, json.dumps(names))
    able = subprocess.run(trying, env=dict(clean), cwd=cwd, capture_output=True, text=True, check=True)
    return able.stdout.split()


def _arithmetic(plans: int, quotes: int, rounds: int) -> tuple[list[Comparison], list[str]]:
    import numpy as np

    book, wishes = _market(plans, quotes)
    prices, places = _flat(book)
    work = Work(gpus()["H100"], Decimal(4000))
    chosen = book.choose("current", _START + timedelta(days=200))

    def ours() -> object:
        return [_reckoned(book, wish) for wish in wishes]

    def by_numpy() -> object:
        """From the same texts and decimals."""
        price = np.array([prices[places[offer]] for wish in wishes for offer, _ in wish.rows], dtype=np.float64)
        hours = np.array([hours for wish in wishes for _, hours in wish.rows], dtype=np.float64)
        cost = (price * hours).reshape(len(wishes), _PHASES)
        curve = np.cumsum(cost, axis=1)
        return curve[:, -1].tolist(), curve.tolist()

    ready = np.array([prices[places[offer]] for wish in wishes for offer, _ in wish.rows], dtype=np.float64)
    hours_ready = np.array([hours for wish in wishes for _, hours in wish.rows], dtype=np.float64)

    def arrays_ready() -> object:
        return np.cumsum((ready * hours_ready).reshape(len(wishes), _PHASES), axis=1)

    def everywhere() -> object:
        return compare(work, chosen, (), terms=Terms(_START), currency="USD")

    def everywhere_by_numpy() -> object:
        """Hours of equal compute, cost, order."""
        price = np.array([one.quote.price_per_hour for one in chosen], dtype=np.float64)
        peak = np.array([gpus()[one.quote.gpu].bf16_tflops * one.quote.gpus for one in chosen], dtype=np.float64)
        hours = float(work.gpu_hours) * float(work.gpu.bf16_tflops) / peak
        cost = price * hours
        return np.argsort(cost).tolist(), cost.tolist()

    _agree(ours(), by_numpy())
    timed = (ours, by_numpy, arrays_ready, everywhere, everywhere_by_numpy)
    samples = interleaved({body.__name__: partial(_cpu_ms, body) for body in timed}, rounds)
    same, ready_made = "numpy, from the same inputs", "numpy, its arrays ready"
    pairs = (
        (f"{plans:,} plans", same, "ours", "by_numpy"),
        (f"{plans:,} plans", ready_made, "ours", "arrays_ready"),
        (f"work on {len(chosen):,} offers", same, "everywhere", "everywhere_by_numpy"),
    )
    compared = [Comparison(what, beside, "ms CPU", samples[a], samples[b]) for what, beside, a, b in pairs]
    note = (
        f"plans: {_PHASES} phases each, over a book of {quotes:,} quotes of two days; numpy multiplies and adds in "
        "floating point, and nothing else. No target: what ours takes more goes into exact amounts, dates, doubts and "
        "what is to be said, and is less than a tenth of a millisecond a plan."
    )
    return compared, [note]


def _agree(ours: object, theirs: object) -> None:
    """They must have done the same, but for what floating point loses."""
    totals = theirs[0] if isinstance(theirs, tuple) else []
    for found, other in zip(ours if isinstance(ours, list) else [], totals, strict=True):
        if abs(float(found[0]) - other) > 1e-6 * other:
            raise RuntimeError(f"these are not the same sums: {found[0]} and {other}")


def _reckoned(book: PriceBook, wish: _Wish) -> tuple[Decimal, Sequence[Decimal], Sequence[tuple[datetime, Decimal]]]:
    """What `monitor plan` makes of a plan: its total, P10 to P90 and its curve."""
    selection = book.select("current", wish.start)
    phases = []
    for number, (offer, hours) in enumerate(wish.rows):
        host = next(one.quote for one in selection.of(offer) if one.quote.pricing is Pricing.ON_DEMAND)
        spread = Spread.certain(hours)
        after = str(number - 1) if number else None
        phases.append(
            Phase(str(number), offer, host, 1, spread, Spread.certain(hours * host.gpus), spread, after=after)
        )
    found = project(Plan("p", "USD", wish.start, "current", tuple(phases)))
    return found.total, [found.quantile(share) for share in (P10, P50, P90)], found.curve


def _market(plans: int, quotes: int) -> tuple[PriceBook, list[_Wish]]:
    """Offers with two pricings, each quoted on two days; plans after both."""
    dice = random.Random(1)  # noqa: S311 - no secret
    offers = quotes // _PER_OFFER
    made = []
    for number in range(offers):
        for age in (0, 120):
            since = _START + timedelta(days=age)
            for pricing, low in ((Pricing.ON_DEMAND, 3000), (Pricing.SPOT, 1000)):
                price = Decimal(dice.randrange(low, low * 3)).scaleb(-2)
                gpu = _GPUS[number % len(_GPUS)]
                made.append(
                    Quote(f"o:{number}", "S", "", gpu, 8, pricing, "USD", price, "mine", "here", since.date(), since)
                )
    wishes = [
        _Wish(
            _START + timedelta(days=200, hours=number),
            [(f"o:{dice.randrange(offers)}", Decimal(dice.randrange(1, 99900)).scaleb(-2)) for _ in range(_PHASES)],
        )
        for number in range(plans)
    ]
    return PriceBook(tuple(made), ()), wishes


def _flat(book: PriceBook) -> tuple[Sequence[Decimal], Mapping[str, int]]:
    """The newest price on demand of each offer, and where it stands: numpy is spared the choosing."""
    newest = {quote.offer: quote.price_per_hour for quote in book.quotes if quote.pricing is Pricing.ON_DEMAND}
    return list(newest.values()), {offer: place for place, offer in enumerate(newest)}


def _cpu_ms(body: Callable[[], object]) -> float:
    start = time.process_time()
    body()
    return (time.process_time() - start) * 1000
