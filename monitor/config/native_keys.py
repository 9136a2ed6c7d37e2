"""What the keys of `[monitor]` about native alarms may be."""

from __future__ import annotations

import re
from datetime import timedelta

_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", re.ASCII)
_OFTEN = timedelta(minutes=5)


def not_too_often(every: timedelta) -> timedelta:
    """Clouds count how often they are asked."""
    if not _OFTEN <= every <= timedelta(days=1):
        raise ValueError('expected between 5 minutes and a day, such as native_every = "1h"')
    return every


def usable_prefix(text: str) -> str:
    """It begins the names of things in every cloud, and is the value of a tag."""
    if not _PREFIX.fullmatch(text):
        raise ValueError('expected 1 to 40 letters, digits or . _ -, such as native_prefix = "cloud-budget-monitor"')
    return text
