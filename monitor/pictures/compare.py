"""The same work everywhere: what each offer costs, cheapest first, and from when on own hardware is cheaper."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from alarms.money import for_people
from monitor.columns import shortened
from monitor.pictures.canvas import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, drawn, heights, legend_below, money_axis
from monitor.training.compare import BreakEven, Comparison, LocalRow, name_of
from monitor.training.model import PRECISE, Pricing, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

_LINE = 46
_NAME = 34
_IN_LEGEND = 30
_MOST_BARS = 16
_MOST_RIGS = 3
_BAR_INCHES, _PANEL_INCHES, _AROUND_INCHES = 0.44, 3.8, 1.5
_STYLES = ((BLUE, (0, ()), "s"), (GREEN, (0, (5, 2)), "D"), (PURPLE, (0, (1, 1.5)), "^"))


@dataclass(frozen=True, slots=True)
class _Bar:
    """One bar: what is bought first (none for an offer), and what is paid as it runs."""

    name: str
    hardware: Decimal
    running: Decimal
    spot: bool = False

    @property
    def cost(self) -> Decimal:
        return self.hardware + self.running


def draw(comparison: Comparison, plan: str | None, path: Path) -> None:
    """Write the picture. `plan`: whose work it is. Raises UserError."""
    bars = sorted(_bars(comparison), key=lambda bar: bar.cost)
    shown = bars[:_MOST_BARS]
    rigs = [row for row in comparison.local if _points(row)][:_MOST_RIGS]
    inches = [_AROUND_INCHES + _BAR_INCHES * max(1, len(shown)), *[_PANEL_INCHES] * len(rigs)]
    title = _title(comparison, plan)
    with drawn(path, " ".join(title.split()), sum(inches)) as figure:
        # Each has margins of its own: names of offers need all of the width, numbers at an axis do not.
        panels = figure.subfigures(len(inches), squeeze=False, height_ratios=inches)[:, 0]
        _costs(panels[0], shown, comparison, title, left_out=len(bars) - len(shown))
        for panel, row in zip(panels[1:], rigs, strict=True):
            _break_even(panel, row)


def _title(comparison: Comparison, plan: str | None) -> str:
    work = comparison.work
    whose = "" if plan is None else f"{shortened(plan, _NAME)}: "
    able = [row for row in comparison.offers if not row.reasons.ruled_out]
    lines = textwrap.wrap(f"{whose}{number(work.gpu_hours)} GPU-hours of {work.gpu.name}", _LINE)
    cheapest = [f"from {for_people(able[0].cost.expected, able[0].cost.currency)}"] if able else []
    return "\n".join([*lines, *cheapest])


def _bars(comparison: Comparison) -> Iterator[_Bar]:
    """What can do the work and is paid in the currency of the comparison: two currencies have no common axis."""
    for row in comparison.offers:
        if not row.reasons.ruled_out and row.cost.currency == comparison.currency:
            yield _Bar(name_of(row.quote), Decimal(0), row.cost.expected, row.quote.pricing is Pricing.SPOT)
    for local in comparison.local:
        if not local.reasons.ruled_out and local.rig.currency == comparison.currency:
            hardware = Decimal(0) if local.rig.owned else local.rig.hardware
            kind = "there already" if local.rig.owned else "to buy and to run"
            yield _Bar(f"{local.rig.name}, {kind}", hardware, local.running)


def _costs(panel: SubFigure, bars: Sequence[_Bar], comparison: Comparison, title: str, *, left_out: int) -> None:
    from matplotlib.patches import Patch

    axes = panel.subplots()
    axes.set_title(title)
    most = max((bar.cost for bar in bars), default=Decimal(1))
    for place, bar in enumerate(bars):
        hardware, running = heights([bar.hardware, bar.running])
        axes.barh(place, hardware, height=0.36, color="white", edgecolor=BLACK, hatch="xxxx", linewidth=1)
        face, hatch = ("white", "////") if bar.spot else (BLUE, None)
        axes.barh(place, running, left=hardware, height=0.36, color=face, edgecolor=BLUE, hatch=hatch, linewidth=1)
        above = place - 0.27
        axes.text(0, above, shortened(bar.name, _NAME), va="bottom")
        amount = for_people(bar.cost, comparison.currency).removesuffix(f" {comparison.currency}")
        axes.text(1, above, amount, va="bottom", ha="right", transform=axes.get_yaxis_transform())
    axes.set_ylim(len(bars) - 0.5, -0.9)
    axes.set_xlim(0, heights([most])[0] * 1.01)
    axes.set_yticks([])
    # The figures are written; lines would run through the names.
    axes.grid(visible=False)
    axes.spines["left"].set_visible(bool(bars))
    money_axis(axes, comparison.currency, most, what=_what(comparison, left_out), horizontal=True)
    kinds = [
        (any(not bar.spot and bar.running for bar in bars), Patch(facecolor=BLUE, label="to run")),
        (any(bar.spot for bar in bars), Patch(facecolor="white", edgecolor=BLUE, hatch="////", label="spot")),
        (
            any(bar.hardware for bar in bars),
            Patch(facecolor="white", edgecolor=BLACK, hatch="xxxx", label="hardware to buy"),
        ),
    ]
    handles = [patch for there, patch in kinds if there]
    legend_below(panel, handles, columns=3)


def _what(comparison: Comparison, left_out: int) -> str:
    able = (row.cost.currency for row in comparison.offers if not row.reasons.ruled_out)
    others = sum(currency != comparison.currency for currency in able)
    parts = [f"{left_out} dearer not shown" if left_out else "", f"{others} in another currency" if others else ""]
    said = "; ".join(part for part in parts if part)
    return f"cost ({said})" if said else "cost"


def _points(row: LocalRow) -> list[BreakEven]:
    """The offers that a rig is drawn against: the cheapest, the cheapest firm one, and the dearest that it pays for."""
    if row.rig.owned or row.reasons.ruled_out:
        return []
    pays = [point for point in row.break_even if point.hours_of_use is not None]
    firm = [point for point in pays if point.quote.pricing is Pricing.ON_DEMAND]
    wanted = [*pays[:1], *firm[:1], *firm[-1:]]
    return list({name_of(point.quote): point for point in wanted}.values())


def _break_even(panel: SubFigure, row: LocalRow) -> None:
    """Straight lines: what was paid for the hardware and its hours, and what each offer takes for as much."""
    axes = panel.subplots()
    rig, points = row.rig, _points(row)
    pays = [point.hours_of_use for point in points if point.hours_of_use is not None]
    until = PRECISE.multiply(max(pays), Decimal("1.25"))
    bought = rig.to_earn_back
    end = PRECISE.add(bought, PRECISE.multiply(rig.running_per_hour, until))
    span = heights([Decimal(0), until])
    axes.plot(span, heights([bought, end]), color=ORANGE, linewidth=2.2, label=shortened(f"{rig.name}, bought", _NAME))
    most = end
    for (color, dashes, marker), point, hours in zip(_STYLES, points, pays, strict=False):
        met = PRECISE.add(bought, PRECISE.multiply(rig.running_per_hour, hours))
        per_hour = PRECISE.divide(met, hours)
        stop = min(until, PRECISE.divide(PRECISE.multiply(end, Decimal("1.15")), per_hour))
        name = shortened(name_of(point.quote), _IN_LEGEND)
        line = heights([Decimal(0), PRECISE.multiply(per_hour, stop)])
        axes.plot(heights([Decimal(0), stop]), line, color=color, linestyle=dashes, linewidth=1.8, label="_")
        label = f"{name}: after {hours.to_integral_value(ROUND_CEILING):,f} h"
        axes.plot(
            heights([hours]), heights([met]), color=color, linestyle=dashes, marker=marker, markersize=8, label=label
        )
        most = max(most, PRECISE.multiply(per_hour, stop))
    life = rig.hours_in_life
    if life is not None and life <= until:
        axes.axvline(heights([life])[0], color=GREY, linestyle=":", label=f"end of its life, {number(life)} h")
    axes.set_xlim(0, span[1])
    axes.set_ylim(0, heights([most])[0])
    money_axis(axes, rig.currency, most, what="paid so far")
    _hours(axes)
    axes.set_title(f"When {shortened(rig.name, _IN_LEGEND)} pays")
    legend_below(panel, axes.get_legend_handles_labels()[0], columns=1)


def _hours(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("hours of use, h")
