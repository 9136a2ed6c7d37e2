"""`native` and `manage` of a budget: whether there is a cloud that can hold its twins."""

from __future__ import annotations

from collections.abc import Sequence

import alarms.registry
from monitor.config.budgets import Draft
from monitor.config.parts import Part
from monitor.config.report import Report, choices


def check_native(report: Report, sources: Sequence[Part], budgets: Sequence[Draft]) -> None:
    """Report budgets whose twins could be nowhere."""
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
