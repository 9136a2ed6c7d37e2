"""What a budget should have inside AWS, and what it cannot have there. Pure: no call is made here."""

from __future__ import annotations

from collections.abc import Iterable

from alarms.clients import aws_twins as forms
from alarms.clients.aws_services import budget_names, metric_name
from alarms.model import On, Period, Threshold
from alarms.money import plain
from alarms.twins import Address, Cannot, Design, Twin, Value, Wanted, money_text, slug, threshold_text

_ALARM, _BUDGET = "CloudWatch alarm", "AWS budget"
# AWS publishes every 4 to 6 hours; in a window of six there is a value, save after a gap.
_PERIOD_S = "21600"
_MOST_ACTIONS, _MOST_MAILS = 5, 10
_LONGEST_ALARM, _LONGEST_BUDGET = 255, 100
_UNITS = {"day": "DAILY", "month": "MONTHLY", "quarter": "QUARTERLY", "year": "ANNUALLY"}
_TYPES = {On.ACTUAL.value: "ACTUAL", On.FORECAST.value: "FORECASTED"}


class Draft:
    """One budget on its way to its twins. Each threshold ends in a twin or in `cannot`, by each of the two means."""

    def __init__(self, wanted: Wanted, prefix: str, region: str, account: str) -> None:
        self._wanted = wanted
        self._prefix = prefix
        self._region = region
        self._account = account
        self._cannot: list[Cannot] = []

    def design(self) -> Design:
        """The whole."""
        alarms = [twin for threshold in self._wanted.thresholds for twin in self._alarm(threshold)]
        budgets = self._budget()
        self._say_who_is_not_reached()
        if self._wanted.elsewhere:
            others = ", ".join(self._wanted.elsewhere)
            self._say("", "other sources", f"what {others} bills does not count inside AWS")
        return Design((*alarms, *budgets), tuple(self._cannot))

    def _alarm(self, threshold: Threshold) -> Iterable[Twin]:
        reason = self._why_no_alarm(threshold)
        topics = self._topics(threshold, self._region)
        if reason is None and not topics:
            reason = f"none of its receivers is an SNS topic in {self._region} (not FIFO), so it would call nobody"
        if reason is not None:
            self._say(threshold_text(threshold), _ALARM, reason)
            return
        if len(topics) > _MOST_ACTIONS:
            left = ", ".join(topics[_MOST_ACTIONS:])
            self._say(threshold_text(threshold), _ALARM, f"it calls {_MOST_ACTIONS} topics at most, not {left}")
        limit = threshold.at.of(self._wanted.amount)
        level = f"{threshold.on}-{threshold.at.text.replace('%', 'pct').replace(' ', '')}-{threshold.severity}"
        start = f"{self._prefix}/{slug(self._wanted.budget, 128)}/"
        name = start + slug(level, _LONGEST_ALARM - len(start))
        yield Twin(forms.ALARM, name, self._wanted.budget, self._alarm_fields(threshold, plain(limit), topics))

    def _alarm_fields(self, threshold: Threshold, limit: str, topics: list[str]) -> dict[str, Value]:
        wanted = self._wanted
        dimensions = [f"Currency={wanted.currency}"]
        dimensions += [f"LinkedAccount={account}" for account in wanted.accounts]
        dimensions += [f"ServiceName={metric_name(wanted.services)}"] if wanted.services else []
        return {
            "AlarmDescription": (
                f"Budget {wanted.budget} of {money_text(wanted.amount, wanted.currency)}: this month's spend has "
                f"reached {threshold.at.text} ({threshold.severity}). Kept by cloud-budget-monitor."
            ),
            "Namespace": "AWS/Billing",
            "MetricName": "EstimatedCharges",
            "Dimensions": tuple(sorted(dimensions)),
            "Statistic": "Maximum",
            "Period": _PERIOD_S,
            "EvaluationPeriods": "1",
            "DatapointsToAlarm": "1",
            "Threshold": limit,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "missing",
            "ActionsEnabled": "true",
            "AlarmActions": tuple(sorted(topics[:_MOST_ACTIONS])),
            forms.TAG: wanted.budget,
        }

    def _why_no_alarm(self, threshold: Threshold) -> str | None:
        wanted = self._wanted
        reasons = {
            f"it compares this month's spend with an amount, and knows nothing of {threshold.on}": (
                threshold.on != On.ACTUAL
            ),
            "EstimatedCharges is the month to date, and this budget has another period": wanted.period != "month",
            "AWS counts months of UTC, from the 1st": (wanted.first_day, wanted.zone) != (1, "UTC"),
            "EstimatedCharges is what is billed, before credits; this budget counts otherwise": (
                wanted.net or wanted.effective
            ),
            "there is a figure for everything, a service, an account or both, not by region, run or tag": bool(
                wanted.regions or wanted.runs or wanted.tags
            ),
            "an alarm watches one figure, and this budget counts several accounts": len(wanted.accounts) > 1,
            "an alarm watches one figure, and these services are not one of CloudWatch's": (
                bool(wanted.services) and metric_name(wanted.services) is None
            ),
        }
        return next((reason for reason, holds in reasons.items() if holds), None)

    def _budget(self) -> list[Twin]:
        reason = self._why_no_budget()
        notifications: dict[str, set[str]] = {}
        for threshold in sorted(self._wanted.thresholds, key=lambda one: -one.severity.rank):
            self._notify(threshold, reason, notifications)
        if not notifications:
            return []
        fields = self._budget_fields() | {
            f"{forms.NOTIFICATION}{name}": tuple(sorted(people)) for name, people in notifications.items()
        }
        start = f"{self._prefix}/"
        name = start + slug(self._wanted.budget, _LONGEST_BUDGET - len(start))
        return [Twin(forms.BUDGET, name, self._wanted.budget, fields)]

    def _notify(self, threshold: Threshold, reason: str | None, notifications: dict[str, set[str]]) -> None:
        people = self._people(threshold)
        kind = _TYPES.get(threshold.on)
        daily = self._wanted.period == "day" and threshold.on == On.FORECAST
        if reason is None and kind is None:
            reason = f"it knows actual spend and its own forecast, and nothing of {threshold.on}"
        elif reason is None and daily:
            reason = "it gives no forecast for a day"
        elif reason is None and not people:
            reason = f"none of its receivers is an SNS topic of account {self._account} (not FIFO) or gets e-mail"
        name = _notification(threshold, kind or "")
        if reason is None and name not in notifications and len(notifications) == forms.MOST_NOTIFICATIONS:
            most = forms.MOST_NOTIFICATIONS
            reason = f"it has at most {most} notifications; critical ones and earlier ones go before this"
        if reason is not None:
            self._say(threshold_text(threshold), _BUDGET, reason)
            return
        self._add_people(threshold, people, notifications.setdefault(name, set()))

    def _add_people(self, threshold: Threshold, people: Iterable[str], told: set[str]) -> None:
        """One topic and ten addresses."""
        for one in people:
            kind = one.partition(" ")[0]
            most = 1 if kind == "SNS" else _MOST_MAILS
            if one not in told and sum(other.startswith(kind) for other in told) == most:
                self._say(
                    threshold_text(threshold), _BUDGET, f"a notification has at most {most} of type {kind}: not {one}"
                )
            else:
                told.add(one)

    def _budget_fields(self) -> dict[str, Value]:
        wanted = self._wanted
        fixed = isinstance(wanted.period, Period)
        counted = {**dict.fromkeys(forms.COST_TYPES, "true"), "UseBlended": "false"}
        counted |= {"UseAmortized": "true" if wanted.effective else "false"}
        counted |= dict.fromkeys(("IncludeCredit", "IncludeRefund"), "true" if wanted.net else "false")
        filters = {
            "LinkedAccount": wanted.accounts,
            "Service": budget_names(wanted.services) or (),
            "Region": wanted.regions,
            "TagKeyValue": tuple(f"user:{key}${value}" for key, value in wanted.tags),
        }
        return {
            "BudgetType": "COST",
            "TimeUnit": "CUSTOM" if fixed else _UNITS[str(wanted.period)],
            "BudgetLimit": money_text(wanted.amount, wanted.currency),
            "Start": f"{wanted.period.start:%Y-%m-%d}" if isinstance(wanted.period, Period) else forms.BEGUN,
            "End": f"{wanted.period.end:%Y-%m-%d}" if isinstance(wanted.period, Period) else forms.NEVER,
            **counted,
            **{f"{forms.FILTER}{name}": tuple(sorted(set(found))) for name, found in filters.items() if found},
            forms.TAG: wanted.budget,
        }

    def _why_no_budget(self) -> str | None:
        wanted = self._wanted
        if not isinstance(wanted.period, Period) and wanted.period not in _UNITS:
            return f"it knows days, months, quarters, years and fixed dates, and no {wanted.period}"
        if (wanted.first_day, wanted.zone) != (1, "UTC"):
            return "AWS counts months of UTC, from the 1st"
        if wanted.runs:
            return "it cannot tell a run's spend; scope by the tag that names the run"
        if wanted.services and budget_names(wanted.services) is None:
            return "it names services otherwise, and for one of these the other name is not known"
        if len(wanted.tags) > 1:
            return "its filter by tags takes spend with any of them, and this budget wants all of them"
        return None

    def _topics(self, threshold: Threshold, region: str | None = None) -> list[str]:
        """Of the receivers that hear a threshold; in a region, or all of this account."""
        arns = [arn for one in self._hearing(threshold) if one.type == "sns" for arn in one.to]
        usable = [arn for arn in dict.fromkeys(arns) if not arn.endswith(".fifo")]
        if region is not None:
            return [arn for arn in usable if arn.split(":")[3] == region]
        return [arn for arn in usable if arn.split(":")[4] == self._account]

    def _people(self, threshold: Threshold) -> list[str]:
        mails = [to for one in self._hearing(threshold) if one.type == "email" for to in one.to]
        return [f"SNS {arn}" for arn in self._topics(threshold)] + [f"EMAIL {to}" for to in dict.fromkeys(mails)]

    def _hearing(self, threshold: Threshold) -> list[Address]:
        names = threshold.receivers or ()
        return [self._wanted.addresses[name] for name in names if name in self._wanted.addresses]

    def _say_who_is_not_reached(self) -> None:
        for one in self._wanted.addresses.values():
            if one.type not in ("sns", "email"):
                self._say("", f"receiver {one.receiver}", f"nothing inside AWS calls a receiver of type {one.type}")

    def _say(self, threshold: str, what: str, reason: str) -> None:
        self._cannot.append(Cannot(self._wanted.budget, threshold, what, reason))


def _notification(threshold: Threshold, kind: str) -> str:
    """A limit of AWS Budgets is exceeded when it is passed, not yet when it is reached."""
    absolute = threshold.at.amount is not None
    amount = threshold.at.amount if absolute else threshold.at.percent
    unit = "ABSOLUTE_VALUE" if absolute else "PERCENTAGE"
    return "" if amount is None else f"{kind} GREATER_THAN {plain(amount)} {unit}"
