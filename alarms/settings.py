"""What every configured part shares: strict settings and durations."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from alarms.slots import Schedule, parse_schedule

_DURATION = re.compile(r"(\d{1,6})(s|m|h|d|w)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(value: Any) -> timedelta:
    """`90s`, `5m`, `1h`, `2d`, `1w`. Raises ValueError for anything else, zero included."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected a duration such as "90s", "5m", "1h" or "2d"')
    if int(match[1]) == 0:
        raise ValueError('expected a duration above zero, such as "5m"')
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def short_duration(duration: timedelta) -> str:
    """`6h`, `1d`: whole seconds as `parse_duration` reads them, in the largest unit that fits."""
    seconds = duration // timedelta(seconds=1)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def hours_text(duration: timedelta) -> str:
    """The same, of a window: in hours rather than days."""
    hours, rest = divmod(duration, timedelta(hours=1))
    return short_duration(duration) if rest or not hours else f"{hours}h"


def _schedule(value: Any) -> Schedule:
    return parse_schedule(value if isinstance(value, str) else "")


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class StrictModel(BaseModel):
    """Unknown keys are errors, nothing is coerced silently, values never change, and no input is echoed in errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class ReceiverSettings(StrictModel):
    """The keys that every receiver has, whatever sends to it.

    `min_severity` None: told of everything. `digest` None: no summary.
    """

    name: str
    type: str
    min_severity: Literal["warning", "critical"] | None = None
    allow_private: bool = False
    digest: Annotated[Schedule | None, BeforeValidator(_schedule)] = None
