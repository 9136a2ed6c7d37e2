"""What a billing source is, and the settings that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar, Protocol, runtime_checkable

from monitor.billing_months import BillingMonths
from monitor.model import Batch, MeterReading, Window


class BillingSource(Protocol):
    """Where bills come from. Made by `create(settings)` of its module in `monitor.sources`."""

    name: str

    def windows(
        self, now: datetime, meters: dict[str, MeterReading], filled_since: datetime | None
    ) -> Sequence[Window]:
        """What to fetch now, newest first: the running window, then past months that were never read (back-fill).

        `meters` are those of the last batch; `filled_since` is how far back the ledger is filled, None at first. Not
        called while a fetch is under way.
        """

    def fetch(self, window: Window) -> Batch:
        """Read one window; network, no transaction open. Over within `deadline`.

        What is too much at once comes in parts: each batch but the last names the `rest`, to be fetched the same way.
        Raises AccessError, PermanentError, TemporaryError or BadDataError; then nothing of this window is kept.
        """

    def probe(self) -> str:
        """Try it read-only for `check-config --live`; one sentence on what was seen. Raises like `fetch`."""


@runtime_checkable
class RememberingSource(Protocol):
    """A source of whose failed reads something is kept: what they have cost, what it knows by them."""

    def remembered(self) -> Batch:
        """What reads that failed have left and no batch has told: its `meters` and `use` alone. Told once."""


class SourceDefaults(Protocol):
    """What a source module's `Settings` must have beside its own keys.

    `published_every`: not a key, but a property of what the module reads: how long it may take until the cloud
    publishes the next figure. Spend over less than that cannot be told.
    """

    published_every: ClassVar[timedelta]

    name: str
    type: str
    every: timedelta
    currency: str
    late_after: timedelta
    stale_after: timedelta

    @property
    def bill(self) -> str:
        """See above; no secret is in it."""


def billing_months_of(settings: SourceDefaults) -> BillingMonths:
    """The months of a source's invoices: those of UTC, where its settings have no `billing_months`."""
    months = getattr(settings, "billing_months", None)
    return months if isinstance(months, BillingMonths) else BillingMonths()


def bill_of(settings: SourceDefaults) -> str:
    """Which bill a source reads; one that does not say reads its own."""
    return str(getattr(settings, "bill", settings.name))
