"""What the store does with batches, in memory; and a CloudWatch client that asks the indexed fake without a network."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from alarms.model import Period
from monitor.errors import BadDataError
from monitor.model import Batch, MeterReading, Series, Window
from monitor.period import month_of
from monitor.sources.aws_cloudwatch import AwsCloudWatch, Settings
from tests.fakes.cloudwatch_indexed import IndexedCloudWatch, Refusal


class DirectClient:
    """Has the two methods of a boto3 client that are used, without HTTP: thousands of fetches a second."""

    def __init__(self, service: IndexedCloudWatch) -> None:
        self._service = service

    def list_metrics(self, **request: Any) -> dict[str, Any]:
        return self._answer("ListMetrics", request)

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        page = self._answer("GetMetricData", request)
        for result in page["MetricDataResults"]:
            result["Timestamps"] = [datetime.fromtimestamp(at, UTC) for at in result["Timestamps"]]
        return page

    def _answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        answer = self._service.answer(operation, request)
        assert not isinstance(answer, Refusal)
        return answer


class Ledger:
    """Charges by series and period, the meters, and how far back it is filled."""

    def __init__(self) -> None:
        self.charges: dict[tuple[Series, Period], Decimal] = {}
        self.meters: dict[str, MeterReading] = {}
        self.filled_since: datetime | None = None
        self.batches: list[Batch] = []

    def read(self, source: AwsCloudWatch, now: datetime) -> bool:
        """One turn; what fails is tried again in the next. Whether nothing did."""
        for window in source.windows(now, dict(self.meters), self.filled_since):
            rest: Window | None = window
            while rest is not None:
                try:
                    batch = source.fetch(rest)
                except BadDataError:
                    return False
                self.take(batch)
                rest = batch.rest
            self.filled_since = min(self.filled_since or window.period.start, window.period.start)
        return True

    def take(self, batch: Batch) -> None:
        self.batches.append(batch)
        for series, period in batch.replaces.items():
            self.charges = {
                key: cost for key, cost in self.charges.items() if key[0] != series or key[1].start not in period
            }
        for charge in batch.charges:
            key = (charge.series, charge.period)
            assert charge.period.start in batch.replaces[charge.series]
            assert key not in self.charges
            self.charges[key] = charge.billed_cost
        self.meters |= batch.meters

    def by_month(self) -> dict[datetime, Decimal]:
        sums: Counter[datetime] = Counter()
        for (_, period), cost in self.charges.items():
            sums[month_of(period.start).start] += cost  # type: ignore[assignment] # typed for counts, adds anything
        return {month: Decimal(cost) for month, cost in sums.items() if cost}

    def shown(self) -> list[str]:
        """`account/service start end cost`, in order of time."""
        rows = sorted((p.start, p.end, s.account, s.service, cost) for (s, p), cost in self.charges.items())
        return [f"{a}/{s} {start:%m-%dT%H} {end:%m-%dT%H} {cost}" for start, end, a, s, cost in rows]


def source_of(service: IndexedCloudWatch, *, most: int | None = None, **settings: Any) -> AwsCloudWatch:
    """A source that asks the fake directly; `most`: what it reads at once."""
    described = Settings(name="aws", **settings)
    source = AwsCloudWatch(described) if most is None else AwsCloudWatch(described, most)
    source._client = DirectClient(service)
    return source
