"""One budget alarm and one of the daemon's own, for every test that has to send something."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alarms.model import Facts, Kind, Notification, Period, Reason, Severity

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
MONTH = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
FACTS = Facts(
    kind=Kind.FIRING,
    severity=Severity.CRITICAL,
    reason=Reason.CROSSED,
    title="training",
    budget="training",
    period=MONTH,
    amount=Decimal(1000),
    currency="USD",
    on="actual",
    at="100%",
    limit=Decimal(1000),
    spend=Decimal("1004.2"),
    billed=Decimal("962.8"),
    accrued=Decimal("41.4"),
    as_of=NOW - timedelta(hours=4),
    first_detected=NOW,
)
OWN = Facts(
    kind=Kind.FIRING,
    severity=Severity.WARNING,
    reason=Reason.FAULT,
    title="Source aws has given no data for 26 h",
    detail="AWS refused the key: allow cloudwatch:GetMetricData to these credentials",
    first_detected=NOW,
)
MESSAGE = Notification("4f2a9c01d7be/actual-100pct-critical/1", "oncall", NOW, FACTS)
