"""Lines of the Cloud Billing export, as Google writes them into its standard usage cost table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

ACCOUNT = "0123AB-4567CD-89EF01"
PACIFIC = ZoneInfo("America/Los_Angeles")
_EXPORTED_AFTER = timedelta(hours=5)

_PAIRS = 'STRUCT("key" VARCHAR, "value" VARCHAR)[]'
_COLUMNS = {
    "billing_account_id": ("STRING", "VARCHAR"),
    "service": ("RECORD", "STRUCT(id VARCHAR, description VARCHAR)"),
    "sku": ("RECORD", "STRUCT(id VARCHAR, description VARCHAR)"),
    "usage_start_time": ("TIMESTAMP", "TIMESTAMPTZ"),
    "usage_end_time": ("TIMESTAMP", "TIMESTAMPTZ"),
    "project": ("RECORD", f"STRUCT(id VARCHAR, number VARCHAR, name VARCHAR, labels {_PAIRS})"),
    "labels": ("RECORD", _PAIRS),
    "system_labels": ("RECORD", _PAIRS),
    "location": ("RECORD", "STRUCT(location VARCHAR, country VARCHAR, region VARCHAR, zone VARCHAR)"),
    "export_time": ("TIMESTAMP", "TIMESTAMPTZ"),
    "cost": ("FLOAT", "DOUBLE"),
    "currency": ("STRING", "VARCHAR"),
    "currency_conversion_rate": ("FLOAT", "DOUBLE"),
    "usage": (
        "RECORD",
        "STRUCT(amount DOUBLE, unit VARCHAR, amount_in_pricing_units DOUBLE, pricing_unit VARCHAR)",
    ),
    "credits": (
        "RECORD",
        'STRUCT(name VARCHAR, amount DOUBLE, full_name VARCHAR, id VARCHAR, "type" VARCHAR)[]',
    ),
    "invoice": ("RECORD", 'STRUCT("month" VARCHAR)'),
    "cost_type": ("STRING", "VARCHAR"),
    "_PARTITIONTIME": ("TIMESTAMP", "TIMESTAMPTZ"),
}
SCHEMA = {name: kind for name, (kind, _) in _COLUMNS.items()}
DDL = "CREATE TABLE {table} (" + ", ".join(f"{name} {kind}" for name, (_, kind) in _COLUMNS.items()) + ")"


@dataclass(frozen=True)
class ExportLine:
    """One line. `cost` and the amounts of `credits` are text or numbers; on the wire they are FLOAT64.

    `project` None: a line of the whole account, as taxes are. `credits` None: NULL, which is not the same as none.
    `invoice`: by itself the month in US Pacific time in which the usage starts. `loaded_at`: by itself `exported_at`.
    """

    start: datetime
    cost: Any
    end: datetime | None = None
    project: str | None = "train"
    service: str = "Compute Engine"
    region: str | None = "us-central1"
    labels: Mapping[str, str] = field(default_factory=dict)
    project_labels: Mapping[str, str] = field(default_factory=dict)
    credits: tuple[Any, ...] | None = ()
    cost_type: str = "regular"
    currency: str = "USD"
    invoice: str = ""
    exported_at: datetime | None = None
    loaded: datetime | None = None

    @property
    def usage_end(self) -> datetime:
        """An hour after the start, if nothing else is said."""
        return self.end or self.start + timedelta(hours=1)

    @property
    def export_time(self) -> datetime:
        """Some hours after the usage, if nothing else is said."""
        return self.exported_at or self.usage_end + _EXPORTED_AFTER

    @property
    def loaded_at(self) -> datetime:
        """When it came into the table; its partition is that day."""
        return self.loaded or self.export_time

    @property
    def invoice_month(self) -> str:
        """`202611`."""
        return self.invoice or f"{self.start.astimezone(PACIFIC):%Y%m}"


def values_of(line: ExportLine) -> list[Any]:
    """The line's columns in the order of SCHEMA."""
    project = {"id": line.project, "number": "1", "name": line.project, "labels": _pairs(line.project_labels)}
    credit = {"name": "Committed use discount", "full_name": "", "id": "c", "type": "COMMITTED_USAGE_DISCOUNT"}
    partition = line.loaded_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return [
        ACCOUNT,
        {"id": "6F81-5844-456A", "description": line.service},
        {"id": "2E27-4F75-95CD", "description": "Nvidia Tesla A100 GPU running in Americas"},
        line.start,
        line.usage_end,
        project if line.project is not None else None,
        _pairs(line.labels),
        [],
        {"location": line.region or "global", "country": "US", "region": line.region, "zone": None},
        line.export_time,
        float(line.cost),
        line.currency,
        1.0,
        {"amount": 1.0, "unit": "seconds", "amount_in_pricing_units": 1.0, "pricing_unit": "hour"},
        None if line.credits is None else [credit | {"amount": float(amount)} for amount in line.credits],
        {"month": line.invoice_month},
        line.cost_type,
        partition,
    ]


def _pairs(labels: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in labels.items()]
