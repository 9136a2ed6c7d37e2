"""Whatever becomes of the store's files: it starts, says so once, comes back, and no wrong number is ever used."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from alarms.model import Kind, Period, Reason
from monitor.clock import to_text
from monitor.disk import Disk
from monitor.errors import StoreError
from monitor.model import Batch, Charge, MeterReading, Series, Window
from monitor.period import month_of, months_before
from monitor.store import facts, mended
from monitor.store.database import Store
from monitor.store.mending import open_mended
from tests.fakes.ledger import totals_by_series
from tests.monitor.test_cycle import World, budget
from tests.torture.suite import chance, say, share

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BEGIN = datetime(2026, 10, 8, tzinfo=UTC)
END = datetime(2026, 11, 12, 6, tzinfo=UTC)
MUTATIONS, SAMPLED = 2_000, 100
LONGEST_START_S = 30.0
SERVICES = [Series("aws", "USD", service=f"service {number}") for number in range(4)]
STORE_PAGES = ("The store ", "store is no longer")


@dataclass(eq=False)
class MeteredSource:
    """Six-hourly charges that continue from the last reading, as CloudWatch's do; and months that were never read."""

    name: str = "aws"
    type: str = "fake"
    until: datetime = BEGIN
    corrected: Decimal = Decimal(0)

    def windows(self, now: datetime, meters: dict[str, MeterReading], filled_since: datetime | None) -> list[Window]:
        month = month_of(now).start
        known = meters.get("total")
        running = Window(Period(month, now)) if known is None else Window(Period(known.at, now), meters)
        start = running.period.start
        return [running, *map(Window, months_before(min(filled_since or start, start), BEGIN))]

    def fetch(self, window: Window) -> Batch:
        rows = tuple(row for row in self.charges() if row.period.start in window.period)
        meters = {"total": MeterReading(self.until, Decimal(0))} if window.period.end > self.until - HOUR else {}
        return Batch(rows, dict.fromkeys(SERVICES, window.period), self.until, meters=meters)

    def charges(self) -> list[Charge]:
        steps = range((self.until - BEGIN) // (6 * HOUR))
        return [
            Charge(one, Period(BEGIN + step * 6 * HOUR, BEGIN + (step + 1) * 6 * HOUR), self.cost(step, place))
            for step in steps
            for place, one in enumerate(SERVICES)
        ]

    def cost(self, step: int, place: int) -> Decimal:
        late = self.corrected if step == 4 * (datetime(2026, 10, 30, tzinfo=UTC) - BEGIN).days else Decimal(0)
        return Decimal(step * 7 + place * 3 + 1) / 100 + late

    def probe(self) -> str:
        return ""

    def truth(self) -> dict[datetime, Decimal]:
        months: Counter[datetime] = Counter()
        for row in self.charges():
            months[month_of(row.period.start).start] += row.billed_cost  # type: ignore[assignment]
        return dict(months)  # type: ignore[arg-type]


@dataclass
class Good:
    """The files of a store in the middle of its life, and every state that it has been in."""

    files: dict[str, bytes]
    backups: dict[str, bytes]
    states: list[dict[datetime, Decimal]]
    source: MeteredSource
    now: datetime
    told: int


def totals(store: Store) -> dict[datetime, Decimal]:
    with store.read() as connection:
        found = {}
        for month in months_before(END + DAY, BEGIN):
            amount = sum(totals_by_series(connection, month).values(), Decimal(0))
            if amount:
                found[month.start] = amount
    return found


def world_of(store: Store, source: MeteredSource, now: datetime) -> World:
    return World(store, [source], budgets=[budget(amount=Decimal(100))], now=now)  # type: ignore[list-item]


def turn(world: World, disk: Disk) -> list[tuple[Kind, str, Reason]]:
    disk.bear(world.now, lambda: world.cycle().turn(world.now, lambda: disk.faults(world.now), everything=True))
    with world.store.read() as connection:
        facts.publish(world.store.directory, facts.read_facts(connection) or "")
    return world.messages()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    """Five weeks of turns, a backup each day but the last; the log is not written back."""
    directory = tmp_path_factory.mktemp("good")
    source, states, told = MeteredSource(), [{}], 0
    with open_mended(directory, BEGIN) as store:
        world, disk = world_of(store, source, BEGIN), Disk(store)
        while world.now < END:
            world.now += 6 * HOUR
            source.until = world.now
            if world.now > END - 2 * DAY:
                source.corrected = Decimal(5)
            told += len(turn(world, disk))
            states.append(totals(store))
            if world.now < END - DAY and (END - world.now) < 5 * DAY:
                disk.back_up(world.now)
        files = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
        kept = {path.name: path.read_bytes() for path in (directory / "backups").iterdir()}
    assert len(files["ledger.db-wal"]) > 100_000
    assert len(kept) == 4
    return Good(files, kept, states, source, world.now, told)


def lay_out(good: Good, directory: Path) -> None:
    (directory / "backups").mkdir(parents=True)
    for name, content in good.files.items():
        if name != "ledger.db-shm":
            (directory / name).write_bytes(content)
    for name, content in good.backups.items():
        (directory / "backups" / name).write_bytes(content)


def truncated(content: bytearray, dice: random.Random) -> None:
    del content[dice.randrange(len(content)) :]


def zeroed(content: bytearray, dice: random.Random) -> None:
    page = dice.randrange(len(content) // 4096) * 4096
    content[page : page + 4096] = bytes(4096)


def garbage(content: bytearray, dice: random.Random) -> None:
    start = dice.randrange(len(content))
    some = dice.randbytes(min(dice.randrange(1, 20_000), len(content) - start))
    content[start : start + len(some)] = some


def flipped(content: bytearray, dice: random.Random) -> None:
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)


KINDS: list[Callable[[bytearray, random.Random], None]] = [truncated, zeroed, garbage, flipped]


@dataclass
class Tally:
    mutations: int = 0
    mended: int = 0
    wrong: int = 0
    storms: int = 0
    slowest_s: float = 0.0
    by_kind: Counter[str] = field(default_factory=Counter)


def mutate(good: Good, directory: Path, dice: random.Random, number: int) -> str:
    """Do something to the log or the file; without the log, everything is in the file."""
    lay_out(good, directory)
    kind = KINDS[number % len(KINDS)]
    target = "ledger.db-wal" if dice.random() < 0.4 else "ledger.db"
    if target == "ledger.db" and dice.random() < 0.6:
        with open_mended(directory, good.now):
            pass  # closing it writes the log back
    path = directory / target
    content = bytearray(path.read_bytes())
    kind(content, dice)
    path.write_bytes(content)
    return f"{kind.__name__} {target}"


def check(good: Good, directory: Path, tally: Tally) -> None:
    now = good.now + HOUR
    began = time.monotonic()
    with open_mended(directory, now) as store:
        tally.slowest_s = max(tally.slowest_s, time.monotonic() - began)
        with store.read() as connection:
            note = mended.read(connection)
        tally.mended += note is not None
        try:
            # What is read before the sources are asked is right, or what it was once; and then it was noted.
            used = totals(store)
            tally.wrong += used not in good.states or (used != good.states[-1] and note is None)
        except StoreError:
            pass  # found as it was read, and not used
        world, disk = world_of(store, good.source, now), Disk(store)
        told = turn(world, disk)
        # Mended, the previous month is read again too, and what was corrected there since.
        tally.wrong += totals(store) != (good.states[-1] if note is None else good.source.truth())
        world.now += HOUR
        told += turn(world, disk)
        pages = [what for _, what, reason in told if reason in (Reason.FAULT, Reason.FAULT_OVER)]
        again = [what for _, what, reason in told if reason not in (Reason.FAULT, Reason.FAULT_OVER)]
        # One page and its end; of the budget at most what was told since the backup, in one message for each level.
        tally.storms += len(pages) > 2 or len(again) > 2 or any(not page.startswith(STORE_PAGES) for page in pages)
        world.now += HOUR
        tally.storms += bool(turn(world, disk))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_damage_keeps_it_from_starting_or_makes_it_use_a_wrong_number(good: Good, tmp_path: Path) -> None:
    dice, tally = chance(), Tally()
    for number in range(share(MUTATIONS, SAMPLED)):
        directory = tmp_path / "mutated"
        what = mutate(good, directory, dice, number)
        before = (tally.wrong, tally.storms)
        check(good, directory, tally)
        assert (tally.wrong, tally.storms) == before, f"mutation {number}: {what}; SEED repeats it"
        tally.mutations += 1
        tally.by_kind[what] += 1
        shutil.rmtree(directory)
    say(
        f"corruption: {tally.mutations:,} mutations, {tally.mended:,} mended, {tally.wrong} undetected wrong totals, "
        f"{tally.storms} storms, slowest start {tally.slowest_s:.1f} s",
    )
    assert tally.slowest_s < LONGEST_START_S


@pytest.mark.parametrize("loss", ["log deleted", "old backup put back", "all of it deleted"])
def test_a_store_that_has_gone_back_storms_nobody(good: Good, tmp_path: Path, loss: str) -> None:
    state = tmp_path / "state"
    lay_out(good, state)
    oldest = sorted(good.backups)[0]
    match loss:
        case "log deleted":
            (state / "ledger.db-wal").unlink()
        case "old backup put back":
            (state / "ledger.db-wal").unlink()
            (state / "ledger.db").write_bytes(good.backups[oldest])
        case _:
            for path in state.glob("ledger.db*"):
                path.unlink()
    tally = Tally()
    check(good, state, tally)
    assert (tally.wrong, tally.storms, tally.mended) == (0, 0, 1)


def test_the_newest_good_backup_is_named_in_the_page(good: Good, tmp_path: Path) -> None:
    state = tmp_path / "state"
    lay_out(good, state)
    (state / "ledger.db").write_bytes(b"garbage" * 10_000)
    (state / "ledger.db-wal").unlink()
    now = good.now + HOUR
    with open_mended(state, now) as store:
        world, disk = world_of(store, good.source, now), Disk(store)
        pages = [what for _, what, reason in turn(world, disk) if reason is Reason.FAULT]
    newest = datetime.strptime(sorted(good.backups)[-1], "ledger-%Y%m%dT%H%M%SZ.db").replace(tzinfo=UTC)
    assert pages == [f"The store was damaged; restored from the backup of {to_text(newest)}"]
