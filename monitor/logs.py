"""Logging to stderr: sentences with key=value fields, and no secret in any of them."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from typing import TextIO
from urllib.parse import unquote

from alarms.errors import OutsideError
from alarms.secrets import Redactor, Secret, quiet_sdk_logs, secrets_of
from monitor.config.model import Config
from monitor.status.words import one_line

log = logging.getLogger(__name__)

# Secrets that the SDKs take from the environment themselves.
_IN_THE_ENVIRONMENT = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    *("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_PASSWORD"),
)
# A proxy's URL may hold a login.
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def set_up(level: int, config: Config) -> Redactor:
    """Log to stderr from `level` on ($MONITOR_DEBUG: everything). Tell the result of secrets that come later."""
    if os.environ.get("MONITOR_DEBUG"):
        level = logging.DEBUG
    journal = bool(os.environ.get("JOURNAL_STREAM"))  # systemd's journal adds the time
    form = "%(levelname)s %(message)s" if journal else "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=level, handlers=[_Stderr()])
    redactor = Redactor(secrets_in(config))
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_OneLine(form))
        handler.addFilter(redactor)
    quiet_sdk_logs()
    # Python's own way is a traceback on stderr, past every filter.
    threading.excepthook = _log_death
    sys.unraisablehook = _log_unraisable
    return redactor


def secrets_in(config: Config) -> list[Secret]:
    """Every secret that this process will know."""
    references = [ref for settings in config.receivers for ref in secrets_of(settings).values()]
    if config.monitor.heartbeat_url is not None:
        references.append(config.monitor.heartbeat_url)
    secrets = [Secret(os.environ[name]) for name in _IN_THE_ENVIRONMENT if os.environ.get(name)] + _proxy_logins()
    for reference in references:
        # One that cannot be had cannot be said either; whoever needs it will say that it is missing.
        with contextlib.suppress(OutsideError):
            secrets.append(reference.resolve())
    return secrets


class _Stderr(logging.StreamHandler[TextIO]):
    """A line that cannot be written is lost: the job goes on, and so does the log when the disk has room again."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Python's own way is a traceback on stderr, past every filter."""


class _OneLine(logging.Formatter):
    """No name or error of somebody else begins a line of its own, or moves a cursor; a traceback keeps its lines."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        """In UTC, as all times for machines; with milliseconds, for what follows quickly."""
        return f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03}Z"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = one_line(record.message.replace("\n", "; "))
        return super().formatMessage(record)


def _proxy_logins() -> list[Secret]:
    logins = {os.environ.get(name, "").rpartition("@")[0].rpartition("//")[2] for name in _PROXIES} - {""}
    # As it stands in the URL, and as it is sent.
    forms = {form for login in logins for form in (login, unquote(login), unquote(login.partition(":")[2]))} - {""}
    return [Secret(form) for form in sorted(forms)]


def _log_death(died: threading.ExceptHookArgs) -> None:
    """Python itself would write the exception to stderr as it is."""
    if died.exc_value is not None and died.exc_type is not SystemExit:
        name = died.thread.name if died.thread else "unknown"
        log.critical("A thread has died from a defect. thread=%s", name, exc_info=died.exc_value)


def _log_unraisable(failure: sys.UnraisableHookArgs) -> None:
    log.critical("Tidying up has failed from a defect.", exc_info=failure.exc_value)
