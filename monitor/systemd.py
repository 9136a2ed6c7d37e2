"""Telling systemd how we are, in the few lines that its protocol takes (sd_notify(3)); nothing without systemd."""

from __future__ import annotations

import os
import socket


def notify(**fields: str) -> None:
    """Send e.g. `READY="1", STATUS="..."`. Does nothing when not started by systemd, or when it no longer listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    message = "\n".join(f"{name}={value}" for name, value in fields.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(message.encode(), address)
        except OSError:
            return  # systemd going away is no reason to stop watching the money


def watchdog_seconds() -> float | None:
    """How often systemd wants to hear WATCHDOG=1 at the latest; None when it does not watch this process."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdecimal() or watched != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000
