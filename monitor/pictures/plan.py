"""A plan over time: what is planned to be spent, how sure that is, what its budget allows, what was spent."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from alarms.money import for_people
from alarms.words import day_text
from monitor.columns import shortened
from monitor.pictures.canvas import BLACK, BLUE, GREY, ORANGE, date_axis, drawn, heights, legend_below, money_axis
from monitor.training.model import PRECISE
from monitor.training.plan import P10, P90, PhaseCost, Projection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEIGHT = 4.6
_LINE = 46
_NAME = 60
_BRIEF = timedelta(hours=12)
_FAR = 3
_MARKS = 8

Point = tuple[datetime, Decimal]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How high the curve may be from one instant to the other: what a period of the budget leaves it."""

    start: datetime
    end: datetime
    level: Decimal


@dataclass(frozen=True, slots=True)
class PlanPicture:
    """What is drawn. `ceilings`: of the budget, empty without one; `actual`: what was spent since the start."""

    projection: Projection
    ceilings: Sequence[Ceiling] = ()
    actual: Sequence[Point] = ()


def draw(picture: PlanPicture, path: Path) -> None:
    """Write the picture. Raises UserError."""
    projection = picture.projection
    plan = projection.plan
    title = f"{shortened(plan.name, _NAME)}: {for_people(projection.total, plan.currency)}"
    with drawn(path, title, _HEIGHT) as figure:
        axes = figure.add_subplot()
        axes.set_title("\n".join(textwrap.wrap(title, _LINE)))
        _curve(axes, projection)
        _ceilings(axes, picture)
        _actual(axes, picture)
        start, end = _span(picture)
        most = _highest(picture)
        money_axis(axes, plan.currency, most, what="spent so far")
        date_axis(axes, (end - start).days)
        axes.set_xlim(start, end + (end - start) / 50)  # type: ignore[arg-type]  # its types know no dates
        axes.set_ylim(0, heights([most])[0] * 1.05)
        axes.set_xlabel(_dates(picture))
        legend_below(figure, axes.get_legend_handles_labels()[0], columns=2)


def _curve(axes: Axes, projection: Projection) -> None:
    instants = [at for at, _ in projection.curve for _ in range(2)]
    planned = [amount for at, after in projection.curve for amount in (projection.planned(at, before=True), after)]
    if not projection.spread.is_certain:
        low, high = (list(_quantile(projection, share)) for share in (P10, P90))
        axes.fill_between(
            instants,  # type: ignore[arg-type]  # as above
            heights(low),
            heights(high),
            facecolor=f"{BLUE}33",
            edgecolor=BLUE,
            hatch="///",
            linewidth=0,
            label="P10 to P90",
        )
    axes.plot(instants, heights(planned), color=BLUE, linewidth=2.2, label="planned")  # type: ignore[arg-type]


def _quantile(projection: Projection, share: Decimal) -> Iterator[Decimal]:
    """A quantile of the total as it comes to be: certain phases move it as planned, the others by their part of it."""
    beyond = PRECISE.subtract(projection.quantile(share), projection.total)
    doubts = [(phase, PRECISE.subtract(phase.quantile(share), phase.cost)) for phase in projection.phases]
    whole = sum((doubt for _, doubt in doubts), Decimal(0))
    for at, _ in projection.curve:
        for before in (True, False):
            so_far = sum((doubt * _done(phase, at, before=before) for phase, doubt in doubts), Decimal(0))
            part = PRECISE.divide(so_far, whole) if whole else Decimal(1)
            planned = projection.planned(at, before=before)
            yield PRECISE.add(planned, PRECISE.multiply(beyond, part))


def _done(phase: PhaseCost, at: datetime, *, before: bool) -> Decimal:
    """The share of a phase that is through at an instant."""
    if at < phase.start or (before and at == phase.start):
        return Decimal(0)
    if at >= phase.end:
        return Decimal(1)
    return PRECISE.divide(Decimal((at - phase.start) // _SECOND), Decimal((phase.end - phase.start) // _SECOND))


_SECOND = timedelta(seconds=1)


def _ceilings(axes: Axes, picture: PlanPicture) -> None:
    label = f"budget {shortened(picture.projection.plan.budget or '', 24)}"
    if all(ceiling.level > _highest(picture) for ceiling in picture.ceilings):
        label += " (far above)"
    elif all(ceiling.level <= 0 for ceiling in picture.ceilings):
        label += " (nothing left)"
    for ceiling in picture.ceilings:
        level = heights([ceiling.level, ceiling.level])
        span = [ceiling.start, ceiling.end]
        axes.plot(span, level, color=BLACK, linewidth=1.8, linestyle=(0, (5, 2)), label=label)  # type: ignore[arg-type]
        label = "_"  # once in the legend
    for ceiling in picture.ceilings[1:]:
        axes.axvline(ceiling.start, color=GREY, linewidth=0.8, linestyle=":")  # type: ignore[arg-type]  # as above


def _actual(axes: Axes, picture: PlanPicture) -> None:
    if not picture.actual:
        return
    instants = [at for at, _ in picture.actual]
    axes.plot(
        instants,  # type: ignore[arg-type]  # as above
        heights(amount for _, amount in picture.actual),
        color=ORANGE,
        linewidth=1.6,
        marker="o",
        markersize=5,
        # The last one always: that is how far the ledger is.
        markevery=[*range(len(instants) - 1, -1, -max(1, len(instants) // _MARKS))],
        label="spent, by the ledger",
    )


def _dates(picture: PlanPicture) -> str:
    curve = picture.projection.curve
    days = dict.fromkeys(day_text(at) for at in (curve[0][0], curve[-1][0]))
    return f"{' to '.join(days)}, UTC"


def _highest(picture: PlanPicture) -> Decimal:
    """Of the upper edge: a budget that is far above would make a flat line of the curve."""
    projection = picture.projection
    top = max(projection.quantile(P90), projection.total, *(amount for _, amount in picture.actual[-1:]), Decimal(0))
    return max((top, *(ceiling.level for ceiling in picture.ceilings if ceiling.level <= _FAR * top)))


def _span(picture: PlanPicture) -> tuple[datetime, datetime]:
    """From the plan's start to its end, or to where the ledger is by now."""
    curve = picture.projection.curve
    start, end = curve[0][0], max(curve[-1][0], *(at for at, _ in picture.actual[-1:]), curve[0][0])
    return (start, end) if end > start else (start - _BRIEF, end + _BRIEF)
