"""Signals to a daemon with many threads: held back for all of them, and waited for by one.

A handler would run between two bytecodes of the main thread, or, if that is just about to block, never.
"""

from __future__ import annotations

import signal

_HEARD = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def hold() -> None:
    """Keep the signals pending until `wait`; to be called before the first thread is started, which inherits it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)


def wait() -> signal.Signals:
    """Block until one of SIGTERM, SIGINT and SIGHUP has come, before or during the call."""
    return signal.Signals(signal.sigwait(_HEARD))
