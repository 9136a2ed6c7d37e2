"""A drill: every alarm inside the clouds calls whom it would call, and every receiver gets a test message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from alarms.clients.deadline import within
from alarms.errors import OutsideError
from alarms.model import Facts, Kind, Notification, Reason, Severity
from alarms.reconcile import Op
from alarms.twins import Step, Twin
from monitor.clock import Clock
from monitor.config.model import Config
from monitor.errors import ConfigError
from monitor.natives import Account, Natives
from monitor.readings import WatchedBudget
from monitor.status.words import one_line
from monitor.wiring import build_notifiers

# What the drill of a budget in an account may take in all, and for each twin: an alarm of AWS has 15 s to call.
_BUDGET_S, _TWIN_S = 60.0, 30.0


@dataclass(frozen=True, slots=True)
class Part:
    """What was tried for one budget in one account."""

    budget: str
    cloud: str
    place: str
    steps: tuple[Step, ...]


@dataclass(slots=True)
class Drilled:
    """All that was tried. `receivers`: a step for each, by name. `rows`: what is stored of it."""

    parts: list[Part] = field(default_factory=list)
    receivers: dict[str, Step] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        steps = [step for part in self.parts for step in part.steps]
        return not any(step.ok is False for step in (*steps, *self.receivers.values()))


def run(
    config: Config, natives: Natives, watched: Sequence[WatchedBudget], clock: Clock, *, everybody: bool
) -> Drilled:
    """Drill these budgets. `everybody`: receivers that none of them names get a test message as well."""
    drilled = Drilled()
    named = {name: _receivers(one) for one in watched for name in (one.budget.name,)}
    wanted = {receiver for receivers in named.values() for receiver in receivers}
    for receiver in config.receivers:
        if everybody or receiver.name in wanted:
            drilled.receivers[receiver.name] = _send(config, receiver.name, clock)
    survey = natives.survey(watched)
    for account in survey.accounts:
        drilled.parts += _parts(account)
    for unread in survey.unread:
        step = Step(
            f"account {unread.place or 'of source ' + ', '.join(unread.sources)}", ok=False, detail=str(unread.error)
        )
        drilled.parts += [Part(budget, unread.cloud, unread.place, (step,)) for budget in unread.budgets]
    drilled.rows = [_row(part, drilled, named.get(part.budget, ())) for part in drilled.parts]
    return drilled


def _receivers(watched: WatchedBudget) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for one in watched.budget.thresholds for name in one.receivers or ()))


def _parts(account: Account) -> Iterator[Part]:
    """Of each budget in it. An account that gives no answer in time is not asked for its other budgets."""
    lost: OutsideError | None = None
    for budget in account.budgets:
        twins = [twin for twin in account.owned.twins if twin.budget == budget]
        steps = list(_not_as_planned(account, budget, twins))
        if lost is None:
            limit_s = _BUDGET_S + _TWIN_S * len(twins)
            try:
                steps += within(limit_s, partial(account.native.drill, twins), what=f"{account.cloud} {account.place}")
            except OutsideError as error:
                lost = error
        if lost is not None:
            steps.append(Step("twins", ok=False, detail=f"not tried to the end: {lost}"))
        yield Part(budget, account.cloud, account.place, tuple(steps))


def _not_as_planned(account: Account, budget: str, twins: Sequence[Twin]) -> Iterator[Step]:
    mine = [change for change in account.changes if change.twin.budget == budget]
    for change in mine:
        if change.op in (Op.CREATE, Op.BLOCKED):
            yield Step(f"{change.twin.kind} {change.twin.name}", ok=False, detail=change.why or "it is not there")
    if not twins and not mine:
        yield Step("twins", ok=False, detail="nothing of this budget can be expressed there: see `monitor alarms plan`")


def _send(config: Config, name: str, clock: Clock) -> Step:
    what = f"receiver {name}"
    chosen = tuple(one for one in config.receivers if one.name == name)
    now = clock.now()
    facts = Facts(
        kind=Kind.TEST,
        severity=Severity.WARNING,
        reason=Reason.TEST,
        title=f"A drill: receiver {name} gets messages",
        detail="Sent by `monitor alarms drill`. Alarms of the cloud itself may ring as well. Nothing is wrong.",
    )
    try:
        notifier = build_notifiers(replace(config, receivers=chosen), clock)[name]
        receipt = notifier.send(Notification(f"drill-{now:%Y%m%dT%H%M%S}/test/1", name, now, facts))
    except (OutsideError, ConfigError) as error:
        return Step(what, ok=False, detail=one_line(str(error)))
    if receipt.refused:
        return Step(what, ok=False, detail=f"refused for {', '.join(receipt.refused)}")
    return Step(what, ok=True, detail="accepted a test message")


def _row(part: Part, drilled: Drilled, receivers: Sequence[str]) -> dict[str, Any]:
    steps = [*part.steps, *(drilled.receivers[name] for name in receivers if name in drilled.receivers)]
    failed = [f"{step.what}: {step.detail}" for step in steps if step.ok is False]
    return {
        "budget": part.budget,
        "cloud": part.cloud,
        "place": part.place,
        "drill_ok": not failed,
        "drill_detail": "; ".join(failed),
    }
