"""`native` and `manage` of a budget: whether there is a cloud that can hold its twins."""

from __future__ import annotations

from collections.abc import Sequence

import alarms.registry
from monitor.config.budgets import Draft
from monitor.config.parts import Part
from monitor.config.report import Report, choices

_PREFIX = "native_"


def check_native(report: Report, sources: Sequence[Part], budgets: Sequence[Draft]) -> None:
    """Report budgets whose twins could be nowhere, and sources that would take each other's for left over."""
    if any(draft.config.native for draft in budgets):
        _check_places(report, sources)
        _check_shared(report, sources)
    for draft in budgets:
        config = draft.config
        if config.manage and not config.native:
            report.error((*draft.loc, "manage"), "repairs twins, and this budget has none; add native = true")
        settings = [part.settings for part in sources if not config.scope.source or part.name in config.scope.source]
        if not config.native or not settings or None in settings:
            continue
        clouds = {one.type.partition("_")[0] for one in settings if one.currency == config.currency}
        if clouds and not clouds & set(alarms.registry.natives()):
            known = choices(alarms.registry.natives())
            report.error((*draft.loc, "native"), f"none of its sources is in a cloud that can hold its twins ({known})")


def _check_places(report: Report, sources: Sequence[Part]) -> None:
    """Two sources read the same places or none in common: what one of them does not know is left over to the other."""
    for number, part in enumerate(sources):
        mine: frozenset[str] = getattr(part.settings, "places", frozenset())
        for other in sources[:number]:
            both = mine & getattr(other.settings, "places", frozenset())
            if both and mine != other.settings.places:
                report.error(
                    (*part.loc, "scope"),
                    f"source {other.name} reads {min(both)} as well, and native budgets need one source for it",
                )


def _check_shared(report: Report, sources: Sequence[Part]) -> None:
    """Two sources of one account share their twins, so they may not say different things about them."""
    first: dict[str, Part] = {}
    for part in sources:
        bill = getattr(part.settings, "bill", None)
        if bill is None:
            continue
        other = first.setdefault(bill, part)
        for name in (one for one in type(part.settings).model_fields if one.startswith(_PREFIX)):
            if getattr(part.settings, name) != getattr(other.settings, name, None):
                text = f'shares its twins with source "{other.name}", which reads the same account: give both the same'
                report.error((*part.loc, name), f"{text} {name}")
