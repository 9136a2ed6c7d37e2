"""For every test."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A machine under load is slow now and then; that is no finding.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True, scope="session")
def _interrupts_arrive() -> None:
    """A shell's background jobs ignore SIGINT, and so would everything that they start: Ctrl-C tests would hang."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Every figure that a long test has printed, in one place: what `make torture` is run for, and CI's proof."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if "slow" in report.keywords and report.capstdout.strip()
    ]
    if reports:
        terminalreporter.section("figures of the long tests")
        for report in reports:
            terminalreporter.write_line(report.capstdout.strip())
