"""What only shows when the parts of a config are looked at together: names, references, currencies, order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from alarms.model import On, Severity, Threshold
from alarms.money import is_currency
from alarms.settings import hours_text
from monitor.config.budgets import Draft
from monitor.config.parts import MonitorTable, Part
from monitor.config.report import Report, unknown_name
from monitor.config_lines import Loc
from monitor.period import shortest
from monitor.ports import bill_of

# A name goes into message ids, subjects and the key of a budget made by `each` ("training/123456789012").
_NAME = re.compile(r"\w(?:[\w .:@+-]{0,62}[\w.:@+-])?")

_ALL_OF_THE_PLAN = 100


def check(
    report: Report, monitor: MonitorTable, sources: Sequence[Part], receivers: Sequence[Part], budgets: Sequence[Draft]
) -> None:
    """Report everything that does not fit together."""
    _check_something_is_there(report, sources, receivers, budgets)
    for named in (_named(sources), _named(receivers), [(draft.loc, draft.config.name) for draft in budgets]):
        check_names(report, named)
    for part in sources:
        _check_ages(report, part)
    _check_accounts(report, sources)
    for loc, names in _receiver_lists(monitor, budgets):
        _check_receivers(report, loc, names, receivers)
    for draft in budgets:
        _check_sources(report, draft, sources)
        _check_thresholds(report, draft)
        if receivers:
            _check_heard(report, draft, receivers)
    _check_used(report, monitor, receivers, budgets)


def check_names(report: Report, named: Iterable[tuple[Loc, str]]) -> None:
    """Report names that are missing, not usable, or given twice."""
    first: dict[str, Loc] = {}
    for loc, name in named:
        at = (*loc, "name")
        if not name:
            # Missing, or not a text: reported already; empty is not.
            if not report.has_error(at):
                report.error(at, "has no name; add name = … here")
        elif not _NAME.fullmatch(name):
            report.error(
                at, "expected 1 to 64 letters, digits, spaces or . _ - : @ +, beginning and ending without a space"
            )
        elif name in first:
            line = report.line_of((*first[name], "name"))
            report.error(at, f'"{name}" is already the name of the one on line {line}; each needs its own')
        else:
            first[name] = loc


def _named(parts: Iterable[Part]) -> list[tuple[Loc, str]]:
    return [(part.loc, part.name) for part in parts]


def _check_something_is_there(
    report: Report, sources: Sequence[Part], receivers: Sequence[Part], budgets: Sequence[Draft]
) -> None:
    # Tables that are there but broken are reported already.
    if not sources and not report.has_error(("sources",)):
        report.error(("sources",), "there is no [[sources]] table, so nothing would be read; add one")
    if not budgets and not report.has_error(("budgets",)):
        report.warn(("budgets",), "there is no [[budgets]] table, so no alarm can ever fire")
    if not receivers and not report.has_error(("receivers",)):
        report.warn(("receivers",), "there is no [[receivers]] table: alarms show in `monitor status` alone")


def _check_ages(report: Report, source: Part) -> None:
    settings = source.settings
    if settings is not None and settings.late_after > settings.stale_after:
        report.error((*source.loc, "late_after"), "is longer than stale_after; data is late first and stale afterwards")


def _check_accounts(report: Report, sources: Sequence[Part]) -> None:
    """Two sources of one bill in one currency are never added: a figure may then be that of either."""
    first: dict[tuple[str, str], Part] = {}
    for part in sources:
        if part.settings is None:
            continue
        earlier = first.setdefault((bill_of(part.settings), part.settings.currency), part)
        if earlier is not part:
            line = report.line_of((*earlier.loc, "name"))
            report.warn(
                (*part.loc, "name"),
                f'reads the same bill as "{earlier.name}" on line {line}: they are reconciled and never added, the '
                "higher of the two counts; if another account is meant, give one of them its profile or role_arn",
            )


def _receiver_lists(monitor: MonitorTable, budgets: Iterable[Draft]) -> Iterator[tuple[Loc, Sequence[str]]]:
    yield ("monitor", "receivers"), monitor.receivers or ()
    for draft in budgets:
        yield (*draft.loc, "receivers"), draft.config.receivers
        for loc, threshold in zip(draft.threshold_locs, draft.config.thresholds, strict=True):
            yield (*loc, "receivers"), threshold.receivers or ()


def _check_receivers(report: Report, loc: Loc, names: Sequence[str], receivers: Sequence[Part]) -> None:
    known = [part.name for part in receivers]
    unread = report.is_unread("receivers", receivers)
    for index, name in enumerate(names):
        if name not in known and not unread:
            report.error((*loc, index), unknown_name("receiver", name, (other for other in known if other)))
        elif name in names[:index]:
            report.error((*loc, index), f'"{name}" is named twice; keep one')


def _check_sources(report: Report, draft: Draft, sources: Sequence[Part]) -> None:
    config, loc = draft.config, draft.loc
    names = [part.name for part in sources]
    wanted = config.scope.source
    if report.is_unread("sources", sources):
        return
    if wanted and wanted[0] not in names:
        report.error((*loc, "scope", "source"), unknown_name("source", wanted[0], filter(None, names)))
        return
    in_scope = [part for part in sources if not wanted or part.name in wanted]
    if not is_currency(config.currency) or not in_scope or any(part.settings is None for part in in_scope):
        return
    covered = [part for part in in_scope if part.settings.currency == config.currency]
    if not covered:
        others = ", ".join(f"{part.name} in {part.settings.currency}" for part in in_scope)
        report.error(
            (*loc, "currency"),
            f'is "{config.currency}", but what it covers is billed otherwise ({others}); '
            f'write currency = "{in_scope[0].settings.currency}"',
        )
    if config.scope.run and covered and not any(getattr(part.settings, "run_tag", None) for part in covered):
        report.warn(
            (*loc, "scope", "run"),
            "nothing that this covers tells runs apart; set run_tag = … in a source that can, an aws_cost_explorer say",
        )
    for part in covered:
        _check_detail(report, draft, part, covered)
        _check_windows(report, draft, part)


def _check_detail(report: Report, draft: Draft, source: Part, covered: Sequence[Part]) -> None:
    """A scope by service or account needs a source that is read by it. One without `by` always gives all detail.

    Of several views of one bill one is enough.
    """
    by = getattr(source.settings, "by", None)
    if by is None:
        return
    views = [part for part in covered if bill_of(part.settings) == bill_of(source.settings)]
    told = {detail for part in views for detail in getattr(part.settings, "by", None) or ()}
    whole = any(getattr(part.settings, "by", None) is None for part in views)
    scope = draft.config.scope
    needed = {
        "service": [(*draft.loc, "scope", "service")] if scope.service else [],
        "account": [(*draft.loc, "scope", "account")] if scope.account else [],
    }
    if draft.config.each == "account":
        needed["account"].append((*draft.loc, "each"))
    for detail, locs in needed.items():
        if detail in told or whole:
            continue
        line = ", ".join(f'"{one}"' for one in (*by, detail))
        for loc in locs:
            report.error(
                loc,
                f'the source "{source.name}" is not read by {detail}; '
                f"set by = [{line}] in it (line {report.line_of((*source.loc, 'by'))})",
            )


def _check_windows(report: Report, draft: Draft, source: Part) -> None:
    """A burn rate over less than a source takes to publish is zero most of the time, and then far too high."""
    step = source.settings.published_every
    longest = shortest(draft.config.period)
    for loc, threshold in zip(draft.threshold_locs, draft.config.thresholds, strict=True):
        for index, window in enumerate(threshold.over):
            if window < step:
                report.error(
                    (*loc, "over", index),
                    f'is shorter than the {hours_text(step)} that the source "{source.name}" may take to publish its '
                    f'next figure; write "{hours_text(step)}" or more',
                )
            elif window > longest:
                report.error(
                    (*loc, "over", index),
                    f'is longer than a period of this budget; write at most "{hours_text(longest)}"',
                )


def _check_thresholds(report: Report, draft: Draft) -> None:
    # A budget without a readable amount has a stand-in, which no limit can be measured by.
    if report.has_error((*draft.loc, "amount")):
        return
    amount = draft.config.amount
    seen: dict[tuple[Any, ...], Loc] = {}
    lowest: dict[str, Threshold] = {}
    for loc, threshold in zip(draft.threshold_locs, draft.config.thresholds, strict=True):
        limit = threshold.at
        key = (threshold.on, limit.percent, limit.amount, limit.rate, threshold.severity)
        if key in seen:
            report.error(loc, f"says the same as the threshold on line {report.line_of(seen[key])}; keep one")
        seen.setdefault(key, loc)
        if threshold.severity is Severity.CRITICAL:
            other = lowest.setdefault(_judged_with(threshold), threshold)
            lowest[_judged_with(threshold)] = min(threshold, other, key=lambda one: one.at.of(amount))
        if threshold.on == On.PLAN and limit.percent is not None and limit.percent <= _ALL_OF_THE_PLAN:
            report.warn((*loc, "at"), "fires as soon as spend follows the plan; write more than 100%")
    for loc, threshold in zip(draft.threshold_locs, draft.config.thresholds, strict=True):
        critical = lowest.get(_judged_with(threshold))
        if threshold.severity is Severity.WARNING and critical and threshold.at.of(amount) > critical.at.of(amount):
            report.error(
                (*loc, "at"),
                f"the order is reversed: this warning at {threshold.at.text} comes after critical "
                f"at {critical.at.text}; put it below",
            )


def _judged_with(threshold: Threshold) -> str:
    """What else it has an order with: of a plan, an amount is so much more than was planned, whatever that is."""
    return f"{threshold.on} by amount" if threshold.on == On.PLAN and threshold.at.amount is not None else threshold.on


def _check_heard(report: Report, draft: Draft, receivers: Sequence[Part]) -> None:
    unheard = []
    for loc, threshold in zip(draft.threshold_locs, draft.config.thresholds, strict=True):
        names = draft.config.receivers if threshold.receivers is None else threshold.receivers
        named = [part for part in receivers if part.name in names]
        # A receiver that does not exist, or cannot be read, is reported on its own.
        if len(named) == len(set(names)) and not any(_hears(part, threshold.severity) for part in named):
            unheard.append((loc, threshold))
    if unheard and len(unheard) == len(draft.config.thresholds):
        report.error(
            (*draft.loc, "receivers"),
            "no receiver would hear of this budget; name one whose min_severity lets its thresholds through",
        )
        return
    for loc, threshold in unheard:
        report.warn(
            loc,
            f"no receiver hears this {threshold.severity}: none is named, or their min_severity is above it",
        )


def _hears(receiver: Part, severity: Severity) -> bool:
    lowest = None if receiver.settings is None else receiver.settings.min_severity
    return lowest is None or severity.rank >= Severity(lowest).rank


def _check_used(report: Report, monitor: MonitorTable, receivers: Sequence[Part], budgets: Sequence[Draft]) -> None:
    if monitor.receivers is None:
        return
    used = {*monitor.receivers}
    for draft in budgets:
        used.update(draft.config.receivers)
        used.update(name for threshold in draft.config.thresholds for name in threshold.receivers or ())
    used.update(part.name for part in receivers if part.settings is not None and part.settings.digest)
    for part in receivers:
        if part.name and part.name not in used:
            report.warn(
                (*part.loc, "name"), f'nothing is ever sent to "{part.name}": no budget names it, nor does [monitor]'
            )
