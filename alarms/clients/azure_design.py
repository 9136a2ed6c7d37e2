"""What a budget should have inside Azure, and what it cannot have there. Pure: no call is made here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

from alarms.clients import azure_twins as forms
from alarms.clients.azure_names import name_of
from alarms.clients.azure_scope import Scope
from alarms.clients.azure_twins import Moment
from alarms.model import On, Period, Threshold
from alarms.money import DISPLAY, plain
from alarms.twins import Address, Cannot, Design, Twin, Value, Wanted, money_text, threshold_text

_BUDGET = "Azure budget"
_TYPES = {On.ACTUAL.value: "Actual", On.FORECAST.value: "Forecasted"}
# Of each type; of addresses in one notification.
_MOST_NOTIFICATIONS, _MOST_MAILS = 5, 50
_LOWEST, _HIGHEST = Decimal("0.01"), Decimal(1000)
# What a double holds exactly.
_MOST_DIGITS = 15
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_FARTHEST = timedelta(days=365)
_IN = " in "


@dataclass(frozen=True, slots=True)
class Where:
    """Where budgets may be: what a source reads, whom its budgets call, and the tag that names runs."""

    scopes: tuple[Scope, ...]
    groups: tuple[str, ...] = ()
    run_tag: str | None = None


def twin_name(name: str, scope: Scope, where: Where) -> str:
    """The name of a twin: of several scopes it says in which it is."""
    return name if len(where.scopes) == 1 else f"{name}{_IN}{scope.normal}"


def place_of(twin: Twin, where: Where) -> tuple[Scope, str]:
    """The other way: its scope, and its name inside Azure."""
    name, _, path = twin.name.partition(_IN)
    return next((scope for scope in where.scopes if scope.normal == path), where.scopes[0]), name


class Draft:
    """One budget on its way to its twin. Each threshold ends in it or in `cannot`."""

    def __init__(self, wanted: Wanted, prefix: str, where: Where, moment: Moment) -> None:
        self._wanted = wanted
        self._prefix = prefix
        self._where = where
        self._moment = Moment(moment.now, wanted.first_day)
        self._cannot: list[Cannot] = []

    def design(self) -> Design:
        """The whole."""
        scope = self._scope()
        reason = self._why_no_scope(scope) or self._why_no_period() or self._why_not()
        notifications: dict[str, tuple[str, ...]] = {}
        for threshold in sorted(self._wanted.thresholds, key=lambda one: -one.severity.rank):
            self._notify(threshold, scope, reason, notifications)
        self._say_the_rest(scope)
        if scope is None or not notifications:
            return Design((), tuple(self._cannot))
        name = name_of(self._prefix, self._wanted.budget, self._wanted.accounts)
        fields: dict[str, Value] = {**self._fields(scope), **notifications}
        twin = Twin(forms.BUDGET, twin_name(name, scope, self._where), self._wanted.budget, fields)
        return Design((twin,), tuple(self._cannot))

    def _scope(self) -> Scope | None:
        """Where its twin is; None where no scope is what it counts."""
        scopes, accounts = self._where.scopes, self._wanted.accounts
        if len(scopes) == 1:
            return scopes[0]
        return next((one for one in scopes if accounts == (one.subscription,)), None)

    def _why_no_scope(self, scope: Scope | None) -> str | None:
        if scope is None:
            return (
                "its source reads several subscriptions, and it has one scope: let the budget count one account, or "
                "the source read a management group"
            )
        if self._wanted.accounts and scope.subscription and scope.subscription not in self._wanted.accounts:
            return f"nothing that it counts is in {scope.path}"
        if self._wanted.first_day != 1 and not scope.subscription:
            return "only of subscriptions and resource groups it knows months that begin on another day than the 1st"
        return None

    def _why_no_period(self) -> str | None:
        period = self._wanted.period
        if self._months() is None:
            other = "other dates" if isinstance(period, Period) else period
            return f"it knows months, quarters and years from the 1st of a month, and no {other}"
        if isinstance(period, Period) and period.start > self._moment.now + _FARTHEST:
            return "it begins within a year, not later"
        return "Azure counts days of UTC" if self._wanted.zone != "UTC" else None

    def _why_not(self) -> str | None:
        wanted = self._wanted
        if wanted.effective:
            return "it counts actual cost, and not what commitments cost over their time"
        if wanted.runs and self._where.run_tag is None:
            return "it cannot tell a run's spend: its source has no run_tag"
        if len(self._tags()) < len(wanted.tags) + bool(wanted.runs):
            return "it takes one filter by a tag, and this budget wants two"
        if len(plain(wanted.amount).replace(".", "").lstrip("0")) > _MOST_DIGITS:
            return f"Azure keeps {_MOST_DIGITS} digits of an amount"
        return None

    def _months(self) -> int | None:
        period = self._wanted.period
        return _months_of(period) if isinstance(period, Period) else _MONTHS.get(period)

    def _notify(
        self, threshold: Threshold, scope: Scope | None, reason: str | None, notifications: dict[str, tuple[str, ...]]
    ) -> None:
        kind = _TYPES.get(threshold.on)
        mails = self._mails(threshold)
        groups = self._where.groups if scope is not None and scope.subscription else ()
        percent = self._percent(threshold)
        name = "" if percent is None else forms.notification_field(kind or "", percent)
        if reason is None:
            full = sum(f" {kind} " in other for other in notifications) == _MOST_NOTIFICATIONS
            reason = _why_no_notification(threshold, percent, reached=bool(mails or groups))
            if reason is None and full and name not in notifications:
                reason = f"it has at most {_MOST_NOTIFICATIONS} of type {kind}; critical ones and earlier ones go first"
        if reason is not None or percent is None:
            self._say(threshold_text(threshold), _BUDGET, reason or "it has no such limit")
            return
        if percent != self._share(threshold):
            limit = DISPLAY.multiply(self._wanted.amount, percent).scaleb(-2)
            least = f"it has percents with two decimals: told sooner, at {plain(percent)}%"
            self._say(threshold_text(threshold), _BUDGET, f"{least} ({money_text(limit, self._wanted.currency)})")
        self._add_people(threshold, name, forms.people(mails, groups), notifications)

    def _add_people(
        self, threshold: Threshold, name: str, heard: Iterable[str], notifications: dict[str, tuple[str, ...]]
    ) -> None:
        told = set(notifications.get(name, ()))
        for one in heard:
            mails = sum(other.startswith("email") for other in told)
            if one.startswith("email") and one not in told and mails == _MOST_MAILS:
                most = f"a notification has at most {_MOST_MAILS} addresses"
                self._say(threshold_text(threshold), _BUDGET, f"{most}: not {one.partition(' ')[2]}")
            else:
                told.add(one)
        notifications[name] = tuple(sorted(told))

    def _share(self, threshold: Threshold) -> Decimal | None:
        """The limit in percent of the amount, to more places than anybody has."""
        if threshold.at.percent is not None:
            return threshold.at.percent
        if threshold.at.amount is None:
            return None
        return DISPLAY.divide(threshold.at.amount.scaleb(2), self._wanted.amount)

    def _percent(self, threshold: Threshold) -> Decimal | None:
        """What Azure takes of it: never more, so that nothing is told later. None: it has no such limit."""
        share = self._share(threshold)
        if share is None or share > _HIGHEST:
            return None
        percent = share.quantize(_LOWEST, rounding=ROUND_DOWN, context=DISPLAY)
        return percent if percent >= _LOWEST else None

    def _fields(self, scope: Scope) -> dict[str, Value]:
        wanted = self._wanted
        grains = forms.GRAINS if wanted.first_day == 1 else forms.BILLING_GRAINS
        grain = next(name for name, months in grains.items() if months == self._months())
        fixed = wanted.period if isinstance(wanted.period, Period) else None
        filters = {
            "SubscriptionId": () if scope.subscription else wanted.accounts,
            "ServiceName": wanted.services,
            "ResourceLocation": wanted.regions,
        }
        fields: dict[str, Value] = {
            "category": "Cost",
            "amount": plain(wanted.amount),
            "timeGrain": grain,
            "startDate": forms.BEGUN if fixed is None else self._moment.start_text(fixed.start, grain),
            "endDate": forms.OPEN if fixed is None else f"{fixed.end.astimezone(UTC) - timedelta(days=1):%Y-%m-%d}",
        }
        fields |= {
            f"{forms.FILTER}{name}": forms.filter_values(name, found) for name, found in filters.items() if found
        }
        return fields | {f"{forms.TAG_FILTER}{key}": values for key, values in self._tags().items()}

    def _tags(self) -> dict[str, tuple[str, ...]]:
        tags = {key: (value,) for key, value in self._wanted.tags}
        runs = self._wanted.runs
        return tags | ({self._where.run_tag: tuple(sorted(runs))} if runs and self._where.run_tag else {})

    def _mails(self, threshold: Threshold) -> list[str]:
        named = (self._wanted.addresses.get(name) for name in threshold.receivers or ())
        return [to for one in named if one is not None and one.type == "email" for to in one.to]

    def _say_the_rest(self, scope: Scope | None) -> None:
        wanted, groups = self._wanted, self._where.groups
        if not wanted.net and scope is not None:
            self._say(
                "", "refunds", "Azure counts them, so they lower what its budget sees, and not what this one does"
            )
        if groups and scope is not None and not scope.subscription:
            self._say("", "action groups", "only budgets of subscriptions and resource groups call them")
        unheard = [one for one in wanted.addresses.values() if one.type != "email"]
        for one in unheard:
            self._say("", f"receiver {one.receiver}", _unreached(one, groups))
        if wanted.elsewhere:
            others = ", ".join(wanted.elsewhere)
            self._say("", "other sources", f"what {others} bills does not count inside Azure")

    def _say(self, threshold: str, what: str, reason: str) -> None:
        self._cannot.append(Cannot(self._wanted.budget, threshold, what, reason))


def _why_no_notification(threshold: Threshold, percent: Decimal | None, *, reached: bool) -> str | None:
    if threshold.on not in _TYPES:
        return f"it knows actual cost and its own forecast, and nothing of {threshold.on}"
    if percent is None:
        return f"its limits are {plain(_LOWEST)} to {plain(_HIGHEST)} percent of the amount"
    if not reached:
        return "none of its receivers gets e-mail, and no native_action_groups are called there"
    return None


def _unreached(one: Address, groups: Sequence[str]) -> str:
    instead = "; its action groups are called instead" if groups else ""
    return f"nothing inside Azure calls a receiver of type {one.type}{instead}"


def _months_of(period: Period) -> int | None:
    """How many months fixed dates are, if they are a month, quarter or year from the 1st; else None."""
    start, end = period.start.astimezone(UTC), period.end.astimezone(UTC)
    if not _is_first(start) or not _is_first(end):
        return None
    months = (end.year - start.year) * 12 + end.month - start.month
    return months if months in _MONTHS.values() and (start.month - 1) % months == 0 else None


def _is_first(instant: datetime) -> bool:
    return instant.day == 1 and instant.time() == datetime.min.time()
