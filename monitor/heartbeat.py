"""The dead man's switch: an address that is called after each good turn, so that its silence is noticed."""

from __future__ import annotations

import logging

from alarms.clients import http
from alarms.errors import OutsideError
from alarms.secrets import SecretRef

log = logging.getLogger(__name__)

_DEADLINE_S = 10.0


def problem_of(address: SecretRef | None) -> str | None:
    """Why it cannot be called at all, in a sentence; None if it can, or if there is none."""
    if address is None:
        return None
    try:
        # A dead man's switch may well stand in the own network; only the operator writes this address.
        http.parse_target(address.resolve().reveal(), allow_private=True)
    except OutsideError as error:
        return str(error)
    except ValueError as error:
        return f"{address} is unusable: {error}"
    return None


def ping(address: SecretRef) -> None:
    """Call it. That it does not answer is logged and no more: whoever waits for the call will say so."""
    try:
        http.get(address.resolve().reveal(), deadline_s=_DEADLINE_S, allow_private=True)
    except OutsideError as error:
        log.warning("The heartbeat did not get through. error=%s", error)
