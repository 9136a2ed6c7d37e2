"""A Google Cloud with one export table, and the ways to read it: the source alone, and whole turns on a real store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

from alarms.model import Period
from monitor.model import Batch, MeterReading, Window
from monitor.simulation.bigquery import BigQueryService
from monitor.simulation.billing_export import ExportLine
from monitor.simulation.gcp import GoogleCloud
from monitor.sources.gcp_billing_export import GcpBillingExport, Settings
from monitor.store import charges, facts, meters
from monitor.store.database import Store
from tests.fakes.ledger import totals_by_series

TABLE = "bill-proj.billing.gcp_billing_export_v1_0123AB_4567CD_89EF01"
EVER = Period(datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))


def at(text: str) -> datetime:
    """`11-03T05` or `11-03T05:30` of 2026, or with its year."""
    whole = text if text[:4].isdigit() and text[4] == "-" else f"2026-{text}"
    return datetime.fromisoformat(whole if ":" in whole else f"{whole}:00").replace(tzinfo=UTC)


def line(start: str | datetime, cost: Any, **more: Any) -> ExportLine:
    """One line of the export; `end`, `exported_at` and `loaded` may be texts for `at`."""
    instants = {key: at(value) if isinstance(value, str) else value for key, value in more.items() if key in _INSTANTS}
    return ExportLine(at(start) if isinstance(start, str) else start, cost, **(more | instants))


_INSTANTS = ("end", "exported_at", "loaded")


@dataclass
class Stage:
    """The cloud, its table, and a directory for a key file."""

    cloud: GoogleCloud
    bigquery: BigQueryService
    directory: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def load(self, *lines: ExportLine) -> None:
        self.bigquery.load(TABLE, lines)

    def source(self, *, most: int | None = None, **settings: Any) -> GcpBillingExport:
        described = Settings.model_validate({"name": "gcp", "table": TABLE, **self.settings, **settings})
        return GcpBillingExport(described) if most is None else GcpBillingExport(described, most)

    @property
    def paths(self) -> list[str]:
        """The calls so far, by their last words."""
        return [f"{call.method} {call.path.split('/')[5]}" for call in self.cloud.calls]


@contextmanager
def stage_of(directory: Path) -> Iterator[Stage]:
    """A cloud with an empty table, and an environment that leads to it."""
    with GoogleCloud() as cloud:
        bigquery = BigQueryService(cloud)
        bigquery.create_table(TABLE)
        with mock.patch.dict("os.environ", cloud.environment(directory)):
            yield Stage(cloud, bigquery, directory)
        bigquery.close()


@dataclass
class Books:
    """A real store, and a source read into it as a turn does."""

    store: Store
    filled_since: datetime | None = None

    def read(self, source: GcpBillingExport, now: datetime, *, windows: int | None = None) -> list[Batch]:
        """One turn: every window, to the end of its rest."""
        batches = []
        with self.store.read() as tx:
            known: dict[str, MeterReading] = meters.read(tx, source.name)
        for window in source.windows(now, known, self.filled_since)[:windows]:
            rest: Window | None = window
            while rest is not None:
                batch = source.fetch(rest)
                batches.append(batch)
                with self.store.transaction() as tx:
                    charges.replace(tx, source.name, batch, now)
                    facts.add_use(tx, source.name, f"{now:%Y-%m}", batch.use)
                rest = batch.rest
            self.filled_since = min(self.filled_since or window.period.start, window.period.start)
        return batches

    def totals(self, *names: str, period: Period = EVER) -> dict[Any, Decimal]:
        """What is booked, by these attributes of the series (one name: not in a tuple); zeros left out."""
        found: dict[Any, Decimal] = {}
        with self.store.read() as tx:
            for series, amount in totals_by_series(tx, period).items():
                key = tuple(getattr(series, name) for name in names)
                found[key] = found.get(key, Decimal(0)) + amount
        return {key[0] if len(names) == 1 else key: amount for key, amount in found.items() if amount}

    def total(self, period: Period = EVER) -> Decimal:
        return sum(self.totals("source", period=period).values(), Decimal(0))

    def by_day(self) -> dict[str, Decimal]:
        found: dict[str, Decimal] = {}
        with self.store.read() as tx:
            for _, day, amount, _ in charges.day_totals(tx, EVER.start, EVER.end):
                found[day.isoformat()] = found.get(day.isoformat(), Decimal(0)) + amount
        return {day: amount for day, amount in found.items() if amount}
