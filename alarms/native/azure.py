"""Azure: a budget of Cost Management with a notification for each threshold, at the scope that a source reads.

Azure looks at budgets once a day or so, and sends mail by itself; action groups call whom else it should.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from alarms.clients import azure_twins as forms
from alarms.clients.azure import ScopedSettings, make_client
from alarms.clients.azure_budgets import Budgets
from alarms.clients.azure_design import Draft, Where, place_of, twin_name
from alarms.clients.azure_names import budget_in, looks_like_ours
from alarms.clients.azure_scope import Scope
from alarms.clients.azure_twins import Moment
from alarms.errors import AccessError, OutsideError, PermanentError, TemporaryError
from alarms.ports import Native
from alarms.twins import Design, Owned, Step, Twin, Value, Wanted, value_text

CLOUD = "azure"


def create(settings: ScopedSettings, *, prefix: str, now: Callable[[], datetime]) -> Native:
    """The native of the scopes that a source with these settings reads; nothing is connected to yet."""
    return AzureNative(settings, prefix, now)


class AzureNative:
    """Twins in the scopes of one source."""

    cloud = CLOUD

    def __init__(self, settings: ScopedSettings, prefix: str, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._prefix = prefix
        self._now = now
        # What a name may have no room for, and a budget of Azure none at all: whose it is, and in which currency.
        self._designed: dict[str, tuple[str, str]] = {}
        self._where = Where(settings.scope, tuple(settings.native_action_groups), settings.run_tag)

    def place(self) -> str:
        """The scopes; nobody has to be asked."""
        return self._settings.place

    def design(self, wanted: Wanted, place: str) -> Design:  # noqa: ARG002 - the port's; the scopes are known
        """See the port."""
        design = Draft(wanted, self._prefix, self._where, self._moment).design()
        self._designed |= {twin.name: (wanted.budget, wanted.currency) for twin in design.twins}
        return design

    def owned(self) -> Owned:
        """See the port."""
        try:
            return self._found()
        except AccessError:
            self.__dict__.pop(
                "_budgets", None
            )  # and with it the token, which may be of the time before a right was given
            raise

    def create(self, twin: Twin) -> None:
        """See the port. A PUT would overwrite one of the same name, so it is looked for first."""
        scope, name = place_of(twin, self._where)
        if self._budgets.get(scope, name) is not None:
            raise PermanentError(f"a budget {name} has come to be there meanwhile: look at the plan again")
        self._put_new(twin)

    def update(self, actual: Twin, wanted: Twin) -> None:
        """See the port. What is there now has to be what was seen; its eTag holds off whoever is faster."""
        scope, name = place_of(wanted, self._where)
        raw = self._unchanged(actual)
        if raw is None:
            raise TemporaryError(f"the budget {name} was changed meanwhile: look at the plan again")
        differing = _differing(actual.fields, wanted.fields)
        if differing == {"currency"}:
            unit = value_text(actual.fields["currency"])
            raise PermanentError(f"Azure bills it in {unit}, so its amount is one of {unit}; set its source's currency")
        start = forms.start_of(raw)
        if differing & forms.MADE_ANEW or ("endDate" in differing and not self._moment.lasts(start)):
            self._budgets.delete(scope, name)
            self._put_new(wanted)
        else:
            self._budgets.put(scope, name, forms.argument(wanted.fields, start, str(raw.get("eTag") or "")))

    def delete(self, twin: Twin) -> None:
        """See the port. What is there now has to be what was seen."""
        if self._unchanged(twin) is not None:
            self._budgets.delete(*place_of(twin, self._where))

    def drill(self, twins: Sequence[Twin]) -> list[Step]:
        """See the port. Azure cannot be made to send: what can be looked at is whether somebody would be called."""
        steps = [_attempt(f"budget {twin.name}", self._look_at, twin) for twin in twins]
        groups = sorted({group for twin in twins for group in forms.groups_in(twin.fields)})
        steps += [_attempt(f"action group {group}", self._look_at_group, group) for group in groups]
        if any(forms.mails_in(twin.fields) for twin in twins):
            steps.append(Step("e-mail of Azure", None, "Azure sends it only when a notification fires: not tried"))
        if groups:
            steps.append(Step("calls of action groups", None, "they are not made to call anybody: not tried"))
        return steps

    def _found(self) -> Owned:
        twins: list[Twin] = []
        foreign: dict[tuple[str, str], str] = {}
        for scope in self._settings.scope:
            for raw in self._budgets.all(scope):
                twin = self._twin(raw, scope)
                if twin is not None:
                    twins.append(twin)
                elif looks_like_ours(self._prefix, raw["name"]):
                    key = (forms.BUDGET, twin_name(raw["name"], scope, self._where))
                    foreign[key] = f"budget {raw['name']} bears no mark of ours, so it is not ours: rename or remove it"
        return Owned(tuple(twins), foreign)

    def _unchanged(self, seen: Twin) -> Mapping[str, Any] | None:
        """It as Azure tells of it, None if it is gone. Raises TemporaryError if it is not as it was seen."""
        scope, name = place_of(seen, self._where)
        raw = self._budgets.get(scope, name)
        there = None if raw is None else self._twin(raw, scope)
        if raw is not None and (there is None or there.fields != seen.fields):
            raise TemporaryError(f"the budget {name} was changed meanwhile: look at the plan again")
        return raw

    def _put_new(self, twin: Twin) -> None:
        scope, name = place_of(twin, self._where)
        start, grain = value_text(twin.fields["startDate"]), value_text(twin.fields["timeGrain"])
        begins = self._moment.period_start(grain) if start == forms.BEGUN else forms.instant(start)
        self._budgets.put(scope, name, forms.argument(twin.fields, begins))

    def _look_at(self, twin: Twin) -> tuple[bool, str]:
        scope, name = place_of(twin, self._where)
        raw = self._budgets.get(scope, name)
        if raw is None:
            return False, "it is not there"
        now = self._twin(raw, scope)
        heard = {} if now is None else forms.notifications_in(now.fields)
        silent = [one for one, people in heard.items() if forms.is_silent(people)]
        if silent or not heard:
            return False, f"nobody hears {', '.join(silent) or 'of it'}"
        return True, f"it is there, with {len(heard)} notification{'s' if len(heard) > 1 else ''} switched on"

    def _look_at_group(self, group: str) -> tuple[bool, str]:
        raw = self._budgets.action_group(group)
        if raw is None:
            return False, "it is not there"
        told: Mapping[str, Any] = raw.get("properties") or {}
        if told.get("enabled") is not True:
            return False, "it is switched off"
        receivers = sum(len(found) for name, found in told.items() if name.endswith("Receivers"))
        return (True, f"it calls {receivers}") if receivers else (False, "it has no receivers")

    def _twin(self, raw: Mapping[str, Any], scope: Scope) -> Twin | None:
        """A budget of ours, None for another."""
        name = raw["name"]
        full = twin_name(name, scope, self._where)
        try:
            filtered = raw["properties"].get("filter") or {}
            accounts = (scope.subscription, *forms.accounts_in(filtered))
            read = budget_in(self._prefix, name, [account for account in accounts if account])
            if read is None:
                return None
            budget, currency = self._designed.get(full, (read, self._settings.currency))
            fields = forms.fields_of(raw, self._moment, currency)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise TemporaryError(f"Azure tells of the budget {name} what nobody can read") from error
        return Twin(forms.BUDGET, full, budget, fields)

    @property
    def _moment(self) -> Moment:
        return Moment(self._now(), self._settings.billing_period_starts)

    @cached_property
    def _budgets(self) -> Budgets:
        return Budgets(make_client(self._settings))


def _attempt(what: str, step: Callable[..., tuple[bool, str]], *arguments: Any) -> Step:
    try:
        return Step(what, *step(*arguments))
    except OutsideError as error:
        return Step(what, ok=False, detail=str(error))


def _differing(actual: Mapping[str, Value], wanted: Mapping[str, Value]) -> set[str]:
    return {name for name in {*actual, *wanted} if (actual.get(name) or "") != (wanted.get(name) or "")}
