"""The words of `alarms`: what is measured, what is decided, what is told. Plain values, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alarms.money import EXACT
from alarms.prospects import Forecast as Forecast  # noqa: PLC0414  # everybody has all words from here
from alarms.prospects import Foreseen as Foreseen  # noqa: PLC0414  # the same
from alarms.terms import AlarmStatus as AlarmStatus  # noqa: PLC0414  # the same
from alarms.terms import DataStatus as DataStatus  # noqa: PLC0414  # the same
from alarms.terms import DeliveryState as DeliveryState  # noqa: PLC0414  # the same
from alarms.terms import Kind as Kind  # noqa: PLC0414  # the same
from alarms.terms import On as On  # noqa: PLC0414  # the same
from alarms.terms import Reason as Reason  # noqa: PLC0414  # the same
from alarms.terms import Severity as Severity  # noqa: PLC0414  # the same

# The end of a run that ends when it ends.
OPEN_END = datetime(9999, 1, 1, tzinfo=UTC)
# All periods of a budget have their own alarms, by their start. A run is one period whenever it starts: a plan that is
# moved, and a charge that is older than the first one known, must neither end an alarm nor make another.
RUN_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A half-open stretch of time [start, end): aware UTC instants."""

    start: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    @property
    def is_open(self) -> bool:
        """Whether nobody knows its end."""
        return self.end == OPEN_END


@dataclass(frozen=True, slots=True)
class Limit:
    """`at` of a threshold: a percentage of the budget, an amount in its currency, or a burn rate, which has no unit.

    `text` is as configured.
    """

    text: str
    percent: Decimal | None = None
    amount: Decimal | None = None
    rate: Decimal | None = None

    def of(self, budget_amount: Decimal) -> Decimal:
        """The limit in money; of a burn rate the rate itself."""
        for stated in (self.amount, self.rate):
            if stated is not None:
                return stated
        if self.percent is None:
            raise ValueError(f"limit {self.text} is neither a percentage nor an amount nor a rate")
        return EXACT.multiply(budget_amount, self.percent).scaleb(-2)


@dataclass(frozen=True, slots=True)
class Threshold:
    """One line of a budget's `thresholds`. `receivers` None: those of the budget. `over`: windows of a burn rate."""

    on: str
    at: Limit
    severity: Severity
    receivers: tuple[str, ...] | None = None
    over: tuple[timedelta, ...] = ()


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on spend, as `alarms` needs it. `repeat` None for a severity: never repeated."""

    name: str
    amount: Decimal
    currency: str
    thresholds: tuple[Threshold, ...]
    receivers: tuple[str, ...]
    repeat: dict[Severity, timedelta | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """A finished number handed over by `monitor`: spend of one budget in one period.

    `spend` None: not known (never 0). `lower_bound`: some of it is missing, so it is at least this much.
    `as_of`: the newest charge in it ends here; None without any. `stale`: sources whose data is too old to trust.
    `settled`: nothing more is expected for this period.
    `forecast`: None without enough data, and for a period that is over; `days`: the complete days of data there are
    for it. `burn_rates`: by the length of the window,
    which ends at `as_of`; a window that data does not cover is not there. `foreseen`: None without a plan, or as long
    as there is no data. `run`: the period is that of a run.
    """

    budget: str
    period: Period
    currency: str
    spend: Decimal | None
    billed: Decimal | None = None
    accrued: Decimal | None = None
    as_of: datetime | None = None
    lower_bound: bool = False
    stale: tuple[str, ...] = ()
    settled: bool = False
    forecast: Forecast | None = None
    days: int = 0
    burn_rates: Mapping[timedelta, Decimal] = field(default_factory=dict)
    foreseen: Foreseen | None = None
    run: bool = False

    @property
    def alarms_since(self) -> datetime:
        """The `period_start` of its alarms."""
        return RUN_START if self.run else self.period.start


@dataclass(frozen=True, slots=True)
class AlarmKey:
    """One threshold of one budget in one period; or a fault of the daemon itself (`on` = "health", no period).

    `period_start` of a run is RUN_START.
    """

    subject: str
    on: str
    at: str
    severity: Severity
    period_start: datetime | None

    @property
    def level(self) -> str:
        """The middle of a notification's id: letters, digits, dots and hyphens only. `actual-80pct-warning`."""
        at = self.at.replace("%", "pct")
        return "".join(c for c in f"{self.on}-{at}-{self.severity}" if c.isascii() and (c.isalnum() or c in "-._"))


@dataclass(frozen=True, slots=True)
class Alarm:
    """The stored state of one alarm.

    `episode`: stable id of the present or last stay above the limit ("" before the first). `sequence`: number of the
    last message of this level in this episode. `last_told`: when it was enqueued, None as long as a silence holds it
    back. `told_spend`: what it said, or would have said. `calm_since`: it fires, but has been well below its limit
    since then (thresholds on estimates alone).
    """

    key: AlarmKey
    status: AlarmStatus = AlarmStatus.OK
    data: DataStatus = DataStatus.OK
    since: datetime | None = None
    episode: str = ""
    sequence: int = 0
    first_detected: datetime | None = None
    last_told: datetime | None = None
    told_spend: Decimal | None = None
    period_end: datetime | None = None
    calm_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of an alarm, kept for ever and printed by `once`."""

    key: AlarmKey
    from_status: AlarmStatus
    to_status: AlarmStatus
    reason: Reason
    at: datetime
    episode: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a message may say; stored with it, so that it can be written again word for word after a crash.

    Budget alarms fill the money; the daemon's own (budget None) have `title`, `detail` and `subject`, what it is about.
    `over_until`: a RESOLVED that is the first its receiver hears of all this, since nothing got through while it was
    over; it lasted from `first_detected` to then, at `over_spend` when last seen. `missed`: how often it was over and
    back before, the first time at `missed_since`, without this receiver having heard. `held`: what a digest lists, the
    loudest first; a digest is made when it is sent and never stored.
    `silenced_until`: when the silence ended that held this back. `sections`: those of a summary, each a heading with
    its lines.
    """

    kind: Kind
    severity: Severity
    reason: Reason
    title: str
    detail: str = ""
    budget: str | None = None
    period: Period | None = None
    amount: Decimal | None = None
    currency: str = ""
    on: str = ""
    at: str = ""
    limit: Decimal | None = None
    spend: Decimal | None = None
    billed: Decimal | None = None
    accrued: Decimal | None = None
    as_of: datetime | None = None
    lower_bound: bool = False
    stale: tuple[str, ...] = ()
    previous_spend: Decimal | None = None
    previous_told: datetime | None = None
    first_detected: datetime | None = None
    also_over: tuple[str, ...] = ()
    subject: str = ""
    over_until: datetime | None = None
    over_spend: Decimal | None = None
    missed: int = 0
    missed_since: datetime | None = None
    held: tuple[Notification, ...] = ()
    forecast: Forecast | None = None
    burn_rates: Mapping[timedelta, Decimal] = field(default_factory=dict)
    silenced_until: datetime | None = None
    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()
    foreseen: Foreseen | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """One message for one receiver. `id` is `episode/level/sequence`, the same for every receiver."""

    id: str
    receiver: str
    created_at: datetime
    facts: Facts
    possible_repeat: bool = False
    instead_of: str = ""

    @property
    def stay(self) -> str:
        """Of which stay above which limit it tells: `episode/level`."""
        return self.id.rpartition("/")[0]

    @property
    def sequence(self) -> int:
        """Its number among the messages about this stay."""
        return int(self.id.rpartition("/")[2])

    @property
    def alarm(self) -> str:
        """Names the alarm, the same in each of its episodes."""
        subject = self.facts.budget or self.facts.subject
        if not subject:
            return self.stay
        start = "" if self.facts.period is None else self.facts.period.start.isoformat()
        return "\x1f".join((subject, start, self.stay.rpartition("/")[2]))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notification in the outbox. `attempts` counts those begun.

    `parts`: what a digest is made of. `digest`: the id of the digest in which this one may have arrived.
    """

    notification: Notification
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime
    parts: tuple[Delivery, ...] = ()
    digest: str = ""

    @property
    def members(self) -> tuple[Delivery, ...]:
        """What is in the outbox: the parts of a digest, else itself."""
        return self.parts or (self,)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receiver gave back. `refused`: recipients that did not get it while others did."""

    remote_id: str = ""
    refused: tuple[str, ...] = ()
