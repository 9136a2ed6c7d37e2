"""Measures what training costs and runs the daemon. May import `alarms`; is never imported by it."""

__version__ = "0.1.0"
