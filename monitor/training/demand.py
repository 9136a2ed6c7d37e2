"""What a plan asks of whatever does its work: how much, by when, on how many GPUs, and what must not leave. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from alarms.money import EXACT
from monitor.training.catalog import gpus
from monitor.training.costs import Work
from monitor.training.local import Rig
from monitor.training.model import PRECISE, Gpu
from monitor.training.plan import P50, Phase, Plan, schedule

_MICRO = Decimal("1E-6")
_SHARE = Decimal("0.01")
_SECONDS = Decimal(3600)


@dataclass(frozen=True, slots=True)
class Demand:
    """The constraints of a plan; the bare one asks for nothing.

    `kept`: phases whose data must stay on own hardware; `memory`: phases and the GB per GPU that they need; `within`:
    hours that there are, until the deadline or as long as the plan takes; `at_a_time`: the most GPUs that work at the
    same time; `idle`: the share of its time in which none does; `phases`: how many there are.
    """

    kept: tuple[str, ...] = ()
    memory: tuple[tuple[str, int], ...] = ()
    deadline: datetime | None = None
    within: Decimal | None = None
    at_a_time: int = 0
    idle: Decimal = Decimal(0)
    phases: int = 0


def demand_of(plan: Plan) -> Demand:
    """What the phases of a plan ask for together. Raises OverflowError if it ends after the year 9999."""
    times = schedule(plan)
    start = min(begin for begin, _ in times.values())
    end = max(end for _, end in times.values())
    # Where it is not known how long a phase takes, how long the plan is means nothing.
    known = all(phase.duration is not None for phase in plan.phases)
    until = plan.deadline or (end if known else start)
    busy = _busy([times[phase.name] for phase in plan.phases])
    return Demand(
        kept=tuple(phase.name for phase in plan.phases if phase.data_local),
        memory=tuple((phase.name, phase.needs_gpu_memory) for phase in plan.phases if phase.needs_gpu_memory),
        deadline=plan.deadline,
        within=_hours(until - start) if until > start else None,
        at_a_time=max(_at(plan.phases, times, begin) for begin, _ in times.values()),
        idle=_share(end - start - busy, end - start) if known and end > start else Decimal(0),
        phases=len(plan.phases),
    )


def work_of(plan: Plan) -> Work:
    """All that its phases compute, in hours of the GPU on which most of it is done: exact, or to a millionth."""
    done = [(gpu_of(phase), phase.gpu_hours.quantile(P50)) for phase in plan.phases]
    by_gpu: dict[str, Decimal] = {}
    for gpu, hours in done:
        by_gpu[gpu.name] = PRECISE.add(by_gpu.get(gpu.name, Decimal(0)), PRECISE.multiply(hours, gpu.bf16_tflops))
    main = gpus()[max(by_gpu, key=lambda name: by_gpu[name])]
    hours = Decimal(0)
    for gpu, spent in done:
        hours = EXACT.add(hours, Work(gpu, spent).hours_on(main, 1))
    return Work(main, hours)


def gpu_of(phase: Phase) -> Gpu:
    """What it runs on."""
    return phase.host.gpu if isinstance(phase.host, Rig) else gpus()[phase.host.gpu]


def _at(phases: Sequence[Phase], times: Mapping[str, tuple[datetime, datetime]], instant: datetime) -> int:
    """How many GPUs work then; of a phase of unknown length it is not known on how many."""
    there = (phase for phase in phases if times[phase.name][0] <= instant < times[phase.name][1])
    return sum(phase.count * phase.host.gpus for phase in there)


def _busy(spans: Iterable[tuple[datetime, datetime]]) -> timedelta:
    """For how long at least one phase runs."""
    busy, until = timedelta(0), None
    for start, end in sorted(spans):
        begin = start if until is None else max(start, until)
        busy += max(end - begin, timedelta(0))
        until = end if until is None else max(until, end)
    return busy


def _share(part: timedelta, whole: timedelta) -> Decimal:
    return PRECISE.divide(_hours(part), _hours(whole)).quantize(_SHARE, context=PRECISE)


def _hours(span: timedelta) -> Decimal:
    return PRECISE.divide(Decimal(span // timedelta(seconds=1)), _SECONDS).quantize(_MICRO, context=PRECISE)
