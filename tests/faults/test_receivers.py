"""Receivers x faults: as long as one works a breach is heard, and when the fault is over by all who were to hear of it.

Real receivers behind a proxy that misbehaves, the real program with its store, a clock that is set. `SEED=N` repeats a
sample; `MONITOR_TORTURE=1` runs every subset of the receivers with every fault.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import statistics
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations, count
from pathlib import Path

import pytest

from alarms import registry
from monitor.app import App
from monitor.clock import FixedClock
from monitor.config.model import Config
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox
from tests.fakes.fault_proxy import TCP
from tests.faults.farm import BELIEVED, CANARY, START, TROUBLES, Farm, Trouble, farm_of

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
LIMIT = timedelta(seconds=60)
TORTURE = os.environ.get("MONITOR_TORTURE") == "1"
# What a receiver has got is looked through again and again: a new one has got little.
CELLS_OF_A_FARM = 31
_NUMBERS = count()
HUNG = Trouble("hung", TCP["accepted and hung"], TCP["accepted and hung"])
BY_NAME = {trouble.name: trouble for trouble in TROUBLES}


@contextmanager
def everybody_in(directory: Path) -> Iterator[Farm]:
    with farm_of(directory, registry.names()) as made:
        made.bill.publish(START - 4 * timedelta(hours=1), "1100")
        yield made


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with everybody_in(tmp_path_factory.mktemp("farm")) as made:
        yield made


@pytest.fixture
def quiet() -> Iterator[None]:
    """No logs: pytest keeps all records, they hold errors, and these, by their tracebacks, whole programs."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@dataclass
class Figures:
    """What the cells came to."""

    cells: int = 0
    accepted: int = 0
    taken_over: int = 0
    dead: int = 0
    repeats: int = 0
    longest_s: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.cells} cells: {self.accepted} messages accepted, 0 lost, {self.taken_over} taken over by others, "
            f"{self.dead} receivers dead and back, {self.repeats} possible repeats, slowest turn {self.longest_s:.1f} s"
        )


@dataclass
class Cell:
    """One subset of the receivers with one fault, on a store of its own."""

    farm: Farm
    app: App
    clock: FixedClock
    outbox: StoredOutbox
    directory: Path
    broken: frozenset[str]
    trouble: Trouble
    everybody: str
    few: str

    @property
    def working(self) -> list[str]:
        return [name for name in self.farm.members if name not in self.broken]

    @property
    def addressed(self) -> frozenset[str]:
        """Whom the budget `few` is meant for: those who do not hear, if there are any."""
        return self.broken or frozenset(self.farm.members)

    def run(self, figures: Figures) -> None:
        self.farm.trouble(self.broken, self.trouble)
        report = self.app.turn(self.clock.now(), everything=True)
        began = time.monotonic()
        self.app.deliver(report, LIMIT)
        figures.longest_s = max(figures.longest_s, time.monotonic() - began)
        for name in self.working:
            (got,) = self.farm.members[name].got(self.everybody)
            assert "possible repeat" not in got.subject
        self.in_trouble(figures)
        self.farm.lift()
        self.clock.instant += timedelta(hours=25)
        self.app.deliver(report, LIMIT)
        self.afterwards(figures)

    def in_trouble(self, figures: Figures) -> None:
        """One works: it hears of what was meant for others too, and that they are dead."""
        before = {name: self.farm.members[name].proxy.connections for name in self.broken}
        self.clock.instant += MINUTE + timedelta(seconds=1)
        report = self.app.turn(self.clock.now())
        self.app.deliver(report, LIMIT)
        dead = {one.name for one in self.outbox.receivers() if one.state == "DEAD"}
        assert dead <= self.broken
        figures.dead += len(dead)
        if self.working and self.broken:
            heard = [name for name in self.working if self.farm.members[name].got(self.few)]
            assert heard, "a breach that one of the receivers could have told has been told by none"
            figures.taken_over += 1
        for name in dead:
            for other in self.working:
                assert any(f"{name} takes no messages" in got.subject for got in self.farm.members[other].rig.got())
        if self.trouble.wait:
            asked = [name for name in self.broken - dead if self.farm.members[name].kind != "email"]
            assert all(self.farm.members[name].proxy.connections == before[name] for name in asked)
        self.is_shown(dead)

    def is_shown(self, dead: Collection[str]) -> None:
        text = (self.directory / "state" / "status.json").read_text()
        assert CANARY not in text
        shown = {receiver["name"]: receiver for receiver in json.loads(text)["receivers"]}
        for name in self.broken:
            assert shown[name]["state"] == ("DEAD" if name in dead else "OK")
            assert shown[name]["undelivered"] >= 2
            assert 20 < len(shown[name]["error"]) < 300, shown[name]["error"]
        for name in self.working:
            assert shown[name]["undelivered"] == 0

    def afterwards(self, figures: Figures) -> None:
        """Nothing is lost; what came twice says that it may have."""
        for name, member in self.farm.members.items():
            for budget in (self.everybody, *([self.few] if name in self.addressed else [])):
                got = member.got(budget)
                assert got, f"{name} never heard of {budget} ({self.trouble.name}, {sorted(self.broken)})"
                assert sum("possible repeat" not in one.subject for one in got) <= 1
                figures.accepted += len(got)
                figures.repeats += len(got) - 1
        for receiver in self.outbox.receivers():
            assert (receiver.state, receiver.undelivered) == ("OK", 0), (receiver, self.trouble.name)


def run_cell(farm: Farm, directory: Path, broken: Collection[str], trouble: Trouble, figures: Figures) -> None:
    number = next(_NUMBERS)
    figures.cells += 1
    directory = directory / f"cell-{number}"
    directory.mkdir()
    believed = {name for name in broken if trouble.name in BELIEVED.get(farm.members[name].kind, ())}
    suffers = frozenset(broken) - believed
    everybody, few = f"all-{number}", f"few-{number}"
    config = farm.config(
        directory, (everybody, "1000", farm.members), (few, "1000", suffers or frozenset(farm.members))
    )
    clock = FixedClock(START)
    try:
        with open_store(directory / "state") as store:
            app = App(config, store, clock)
            outbox = StoredOutbox(store)
            Cell(farm, app, clock, outbox, directory, suffers, trouble, everybody, few).run(figures)
    except AssertionError as error:
        raise AssertionError(f"{trouble.name} at {sorted(broken)}: {error}") from error
    finally:
        farm.lift()


def subsets(names: Collection[str]) -> list[tuple[str, ...]]:
    return [subset for size in range(1, len(names) + 1) for subset in combinations(sorted(names), size)]


@pytest.mark.parametrize("name", ["accepted and hung", "429 with Retry-After", "404", "certificate of another host"])
def test_one_receiver_is_in_trouble(farm: Farm, tmp_path: Path, name: str) -> None:
    run_cell(farm, tmp_path, sorted(farm.members)[:1], BY_NAME[name], Figures())


@pytest.mark.parametrize("name", ["refused", "answer cut off after 10 bytes"])
def test_all_receivers_are_in_trouble(farm: Farm, tmp_path: Path, name: str) -> None:
    run_cell(farm, tmp_path, sorted(farm.members), BY_NAME[name], Figures())


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_subsets_of_receivers_times_faults(tmp_path: Path, quiet: None) -> None:
    members = [f"{kind}-{number}" for number, kind in enumerate(registry.names())]
    every = [(subset, trouble) for trouble in TROUBLES for subset in subsets(members)]
    if not TORTURE:
        seed = int(os.environ.get("SEED", time.time_ns()))
        chance = random.Random(seed)  # noqa: S311 - it picks cells, not secrets
        print(f"seed {seed}")
        some = [(chance.choice(subsets(members)), trouble) for trouble in TROUBLES]
        some += [(subset, chance.choice(TROUBLES)) for subset in subsets(members)]
        every = some
    figures = Figures()
    for start in range(0, len(every), CELLS_OF_A_FARM):
        directory = tmp_path / f"farm-{start}"
        directory.mkdir()
        with everybody_in(directory) as farm:
            for subset, trouble in every[start : start + CELLS_OF_A_FARM]:
                run_cell(farm, tmp_path, subset, trouble, figures)
                gc.collect()
    print(f"{len(members)} receivers x {len(TROUBLES)} faults, {figures}")


@pytest.mark.slow
def test_one_hung_receiver_of_four_does_not_delay_the_others(tmp_path: Path) -> None:
    """From the start of the poll that makes a breach visible to the first acceptance, and to that of all who work."""
    breaches = 25
    kinds = [*registry.names(), *["slack"] * (4 - len(registry.names()))]
    with farm_of(tmp_path, kinds) as farm:
        first: list[float] = []
        every: list[float] = []
        for number, hung in enumerate(sorted(farm.members)):
            directory = tmp_path / hung
            directory.mkdir()
            names = [f"b{number}-{breach}" for breach in range(breaches)]
            farm.bill.publish(START + number * HOUR, f"{1000 * (number + 1)}")
            amounts = [f"{1000 * (number + 1) + breach + 1}" for breach in range(breaches)]
            config = farm.config(directory, *((*each, farm.members) for each in zip(names, amounts, strict=True)))
            farm.lift()
            farm.trouble([hung], HUNG)
            with open_store(directory / "state") as store:
                hear_each(farm, store, config, hung, dict(zip(names, amounts, strict=True)), first, every)
    print(
        f"{len(first)} breaches, 1 of {len(kinds)} hung: accepted by one after {statistics.median(first):.3f} s"
        f" (p99 {percentile(first, 99):.3f} s), by the others after {statistics.median(every):.3f} s"
        f" (p99 {percentile(every, 99):.3f} s)"
    )
    assert percentile(every, 99) < 5


def hear_each(
    farm: Farm, store: Store, config: Config, hung: str, budgets: dict[str, str], first: list[float], every: list[float]
) -> None:
    """Breach one budget after the other; how long until it is heard."""
    clock = FixedClock(START + 12 * HOUR)
    app = App(config, store, clock)
    app.turn(clock.now(), everything=True)
    app.start()
    working = [member for name, member in farm.members.items() if name != hung]
    for name, amount in budgets.items():
        clock.instant += MINUTE
        farm.bill.publish(clock.now() - 6 * HOUR, amount)
        began = time.monotonic()
        app.turn(clock.now(), everything=True)
        waiting = list(working)
        while waiting:
            assert time.monotonic() - began < 60, f"{name} was not heard"
            heard = [member for member in waiting if member.got(name)]
            if heard and len(waiting) == len(working):
                first.append(time.monotonic() - began)
            waiting = [member for member in waiting if member not in heard]
            threading.Event().wait(0.003)
        every.append(time.monotonic() - began)
    farm.lift()
    app.stop(timedelta(seconds=5))


def percentile(values: Collection[float], which: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * which // 100)]
