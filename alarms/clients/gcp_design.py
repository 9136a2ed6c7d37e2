"""What a budget should have inside Google Cloud, and what it cannot have there. It asks for names alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Context, Decimal

from alarms.clients import gcp_twins as forms
from alarms.clients.gcp_names import Names
from alarms.model import On, Period, Threshold
from alarms.twins import Cannot, Design, Twin, Value, Wanted, money_text, threshold_text

_BUDGET = "GCP budget"
_PERIODS = {"month": "MONTH", "quarter": "QUARTER", "year": "YEAR"}
_BASES = {On.ACTUAL.value: "CURRENT_SPEND", On.FORECAST.value: "FORECASTED_SPEND"}
_ZONE = "America/Los_Angeles"
_EARLIEST = datetime(2017, 1, 2, tzinfo=UTC)
_PLACES, _SMALLEST = 9, Decimal("1e-9")
# Google takes a double: so many digits of it are exact. Down: it rings no later than it should.
_RATIO = Context(prec=15, rounding=ROUND_DOWN)


@dataclass(frozen=True, slots=True)
class Told:
    """Whom every budget of an account tells."""

    topic: str | None
    channels: Sequence[str]
    admins: bool

    @property
    def text(self) -> str:
        """For people."""
        admins = ["the billing account's administrators and users by e-mail"] if self.admins else []
        channels = [f"{len(self.channels)} notification channels"] if self.channels else []
        topic = [f"topic {self.topic}"] if self.topic else []
        return ", ".join([*admins, *channels, *topic])


class Draft:
    """One budget on its way to its twin. Each threshold ends in it or in `cannot`."""

    def __init__(self, wanted: Wanted, prefix: str, told: Told, names: Names) -> None:
        self._wanted = wanted
        self._prefix = prefix
        self._told = told
        self._names = names
        self._cannot: list[Cannot] = []

    def design(self) -> Design:
        """The whole. Raises OutsideError when a name cannot be asked for."""
        reason = self._why_not()
        rules = {name: forms.SET for one in self._wanted.thresholds for name in self._rule(one, reason)}
        twins: tuple[Twin, ...] = ()
        if rules:
            name = forms.budget_name(self._prefix, self._wanted.budget)
            twins = (Twin(forms.BUDGET, name, self._wanted.budget, {**self._fields(), **rules}),)
            self._say_what_differs()
            self._say("", "receivers", f"all of its thresholds tell the same: {self._told.text}")
        self._say_who_is_not_reached()
        if self._wanted.elsewhere:
            others = ", ".join(self._wanted.elsewhere)
            self._say("", "other sources", f"what {others} bills does not count inside GCP")
        return Design(twins, tuple(self._cannot))

    def _why_not(self) -> str | None:
        """Why none of it can be said there."""
        wanted = self._wanted
        fixed = isinstance(wanted.period, Period)
        reasons = {
            "it knows no period that begins before 2017": (
                isinstance(wanted.period, Period) and wanted.period.start < _EARLIEST
            ),
            f"it knows months, quarters, years and fixed dates, and no {wanted.period}": (
                not fixed and wanted.period not in _PERIODS
            ),
            "its months begin on the 1st": wanted.first_day != 1,
            "it cannot tell regions apart": bool(wanted.regions),
            "it cannot tell a run's spend; scope by the label that names the run": bool(wanted.runs),
            "it takes one label at most, and this budget wants several at once": len(wanted.tags) > 1,
            "it counts what is billed, and this budget spreads commitments over their time": wanted.effective,
            f"an amount has {_PLACES} decimal places at most there": (
                wanted.amount != wanted.amount.quantize(_SMALLEST, rounding=ROUND_DOWN)
            ),
        }
        reason = next((reason for reason, holds in reasons.items() if holds), None)
        if reason is not None:
            return reason
        unknown = [name for name in wanted.services if self._names.service(name) is None]
        return f"its catalog has no service named {', '.join(unknown)}" if unknown else None

    def _rule(self, threshold: Threshold, reason: str | None) -> list[str]:
        basis = _BASES.get(threshold.on)
        if reason is None and basis is None:
            reason = f"it knows actual spend and its own forecast, and nothing of {threshold.on}"
        elif reason is None and threshold.on == On.FORECAST and isinstance(self._wanted.period, Period):
            reason = "it gives no forecast for fixed dates"
        if reason is not None or basis is None:
            self._say(threshold_text(threshold), _BUDGET, reason or "")
            return []
        return [forms.rule(basis, self._ratio(threshold))]

    def _ratio(self, threshold: Threshold) -> Decimal:
        if threshold.at.amount is not None:
            return _RATIO.divide(threshold.at.amount, self._wanted.amount)
        return _RATIO.plus((threshold.at.percent or Decimal(0)).scaleb(-2))

    def _fields(self) -> dict[str, Value]:
        wanted, told = self._wanted, self._told
        services = tuple(sorted({self._names.service(name) or name for name in wanted.services}))
        fields: dict[str, Value] = {
            "amount": money_text(wanted.amount, wanted.currency),
            **self._period(),
            "creditTypesTreatment": "INCLUDE_ALL_CREDITS" if wanted.net else "EXCLUDE_ALL_CREDITS",
            "projects": tuple(sorted({self._project(one) for one in wanted.accounts})),
            "services": services,
            **{f"{forms.LABEL}{key}": (value,) for key, value in wanted.tags},
            "pubsubTopic": told.topic or "",
            "schemaVersion": "1.0" if told.topic else "",
            "monitoringNotificationChannels": tuple(sorted(set(told.channels))),
            "disableDefaultIamRecipients": "false" if told.admins else "true",
            "enableProjectLevelRecipients": "false",
        }
        return {name: value for name, value in fields.items() if value}

    def _period(self) -> dict[str, Value]:
        period = self._wanted.period
        if not isinstance(period, Period):
            return {"calendarPeriod": _PERIODS[period]}
        # Google does not say whether the last day counts: with the day after ours, none of ours is left out.
        return {"startDate": f"{period.start:%Y-%m-%d}", "endDate": f"{period.end:%Y-%m-%d}"}

    def _project(self, project: str) -> str:
        name, lacking = self._names.project(project)
        if lacking:
            self._say("", f"project {project}", f"its number is not known, so it differs in each look: {lacking}")
        return name

    def _say_what_differs(self) -> None:
        if self._wanted.zone != _ZONE:
            zone = self._wanted.zone
            self._say("", "calendar", f"GCP's days begin at midnight in California, and those of this budget in {zone}")

    def _say_who_is_not_reached(self) -> None:
        for one in self._wanted.addresses.values():
            self._say("", f"receiver {one.receiver}", f"nothing inside GCP calls a receiver of type {one.type}")

    def _say(self, threshold: str, what: str, reason: str) -> None:
        self._cannot.append(Cannot(self._wanted.budget, threshold, what, reason.replace("\n", " ")))
