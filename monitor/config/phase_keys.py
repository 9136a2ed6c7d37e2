"""Which keys of a phase go together, and which contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.config.plan_tables import PhaseTable
from monitor.config.report import Report
from monitor.config_lines import Loc
from monitor.training.catalog import gpus
from monitor.training.local import Rig
from monitor.training.model import Quote

_MODEL = ("params", "tokens", "mfu", "layers", "width", "context", "precision")
_SHAPE = ("layers", "width", "context")


def check_ways(report: Report, table: PhaseTable, raw: Mapping[str, Any], loc: Loc) -> None:
    """Report what is said twice, by halves, or of something that is not there."""
    said = [key for key in ("hours", "gpu_hours", "params") if key in raw]
    if not said:
        report.error(
            loc, "does not say how much work it is; add hours = …, gpu_hours = …, or params = … and tokens = …"
        )
    for key in said[1:]:
        report.error((*loc, key), f"says how much work it is again, beside {said[0]}; keep one")
    if ("params" in raw) != ("tokens" in raw):
        missing, other = ("tokens", "params") if "params" in raw else ("params", "tokens")
        report.error((*loc, missing), f"missing; {other} needs {missing} = … beside it")
    shape = [key for key in _SHAPE if key in raw]
    if shape and len(shape) < len(_SHAPE):
        missing = next(key for key in _SHAPE if key not in raw)
        report.error((*loc, missing), "missing; layers, width and context count together")
    if "params" not in raw and "tokens" not in raw:
        for key in _MODEL:
            if key in raw:
                report.error((*loc, key), "belongs to a phase with params and tokens; remove it")
    if "after" in raw and "start" in raw:
        report.error((*loc, "start"), "has after beside it; remove one or the other")
    if table.new_customer and "discount" not in raw:
        report.error((*loc, "new_customer"), "changes nothing without a discount; remove it")


def check_needs(report: Report, table: PhaseTable, on: str, host: Quote | Rig, loc: Loc) -> tuple[str, ...]:
    """Report a phase that runs where its constraints forbid it; the result is to be said of it."""
    if table.data_local and not isinstance(host, Rig):
        sentence = f'keeps its data on hardware of your own, which {on} is not; choose on = "local:NAME" or remove it'
        report.error((*loc, "data_local"), sentence)
    needed = table.needs_gpu_memory
    there = (host.gpu if isinstance(host, Rig) else gpus()[host.gpu]).memory_gb
    if needed is None:
        return ()
    if there is None:
        return (f"memory per GPU not stated, {needed} GB are needed",)
    if there < needed:
        report.error((*loc, "needs_gpu_memory"), f"is {needed} GB, but each GPU of {on} has {there}; choose another")
    return ()
