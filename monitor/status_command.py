"""`monitor status`, from the command line to the exit code: 0, 1, 2 or 3, whatever happens.

Monitoring systems run this every minute on many machines, so it is built to start fast: no argparse, nothing outside
the standard library, and every import where it is needed. Nothing here may raise into Python's own exit codes: 1 would
mean WARNING to whoever reads it, 2 CRITICAL.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any, NoReturn

UNKNOWN = 3
HELP = """\
usage: monitor status [--json | --nagios] [--budget NAME] [--as-of T]
                      [--config FILE] [--state-dir DIR]

How the budgets stand, from what was last stored: no network, no credentials.

  --json           for scripts: one JSON document
  --nagios         for monitoring systems: one line and performance data
  --budget NAME    this budget only (of `each`: all NAME/...), and its sources
  --as-of T        judge ages as though it were T (RFC 3339)
  --config FILE    default: $MONITOR_CONFIG, ./config.toml,
                   /etc/cloud-budget-monitor/config.toml
  --state-dir DIR  default: $STATE_DIRECTORY, then state_dir of the config

exit code: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (and this help); nothing else

examples:
  monitor status
  monitor status --json | jq '.budgets[] | {name, spend, state}'
  monitor status --nagios --budget training
"""
_FLAGS = ("--json", "--nagios", "-h", "--help")
_VALUES = ("--config", "--state-dir", "--budget", "--as-of")


class UsageError(Exception):
    """The command line is wrong. The message is a sentence that says how."""


def run(argv: list[str]) -> NoReturn:
    """`main` as a process of its own: ends it with the exit code.

    All is said and flushed by then. Python's own way out takes a sixth of the whole time, and could still turn the code
    into its 120; collecting garbage in a process that lives for milliseconds takes a few per cent.
    """
    gc.disable()
    os._exit(main(argv))


def main(argv: list[str]) -> int:
    """Prints the status; the exit code. `argv`: everything after the program's name, with the word `status`."""
    try:
        text, code = _answer(argv)
        _print(text)
    except BaseException as error:  # noqa: BLE001 the exit code is a promise: Python's own would read as a WARNING
        _last_words(error)
        return UNKNOWN
    return code


def _answer(argv: list[str]) -> tuple[str, int]:
    try:
        options = _options(argv)
        if "--help" in options:
            return HELP.rstrip(), UNKNOWN
        status = _status(options)
    except UsageError as error:
        return f"UNKNOWN - {error}", UNKNOWN
    return _rendered(status, options), status["exit_code"]


def _options(argv: list[str]) -> dict[str, str]:
    """By name; a flag has the value ""."""
    options: dict[str, str] = {}
    words = iter(argv)
    command_seen = False
    for word in words:
        name, equals, value = word.partition("=")
        if word in _FLAGS:
            options["--help" if word == "-h" else word] = ""
        elif name in _VALUES:
            value = value if equals else next(words, "")
            if not value or (not equals and value.startswith("--")):
                raise UsageError(f"{name} needs a value; see: monitor status --help")
            options[name] = value
        elif word == "status" and not command_seen:
            command_seen = True
        else:
            raise UsageError(_unexpected(name if name.startswith("-") else word))
    if "--json" in options and "--nagios" in options:
        raise UsageError("choose one of --json and --nagios")
    return options


def _unexpected(word: str) -> str:
    from monitor.status.words import one_line

    near = _nearest(word, [*_FLAGS, *_VALUES]) if word.startswith("-") else ""
    return f"{one_line(word)[:40]!r} is not known here{near}; see: monitor status --help"


def _nearest(word: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _status(options: dict[str, str]) -> dict[str, Any]:
    from monitor.status.judge import judge
    from monitor.status.parts import belongs
    from monitor.status.place import NoPlaceError, find_place
    from monitor.status.stored import daemon_runs, read
    from monitor.status.words import Problem, State

    now = _now(options)
    try:
        place = find_place(options.get("--config"), options.get("--state-dir"))
    except NoPlaceError as error:
        trouble = Problem(State.UNKNOWN, str(error), error.do)
        return judge(None, now, running=None, trouble=trouble)
    stored, budget = read(place), options.get("--budget")
    running = daemon_runs(place, stored.document)
    names = [row["name"] for row in (stored.document or {}).get("budgets", [])]
    if stored.document is not None and budget is not None and not any(belongs(name, budget) for name in names):
        text = f"no budget is called {budget!r}{_nearest(budget, names)}"
        trouble = Problem(State.UNKNOWN, text, "run `monitor status` to see all of them")
        return judge(None, now, running=running, trouble=trouble)
    return judge(
        stored.document, now, running=running, receivers=stored.receivers, budget=budget, trouble=stored.trouble
    )


def _now(options: dict[str, str]) -> datetime:
    from monitor.clock import SystemClock, from_text

    if "--as-of" not in options:
        return SystemClock().now()
    try:
        return from_text(options["--as-of"])
    except (ValueError, OverflowError) as error:
        raise UsageError("--as-of needs an instant such as 2026-11-23T18:00:00Z") from error


def _rendered(status: dict[str, Any], options: dict[str, str]) -> str:
    if "--json" in options:
        import json

        return json.dumps(status)
    if "--nagios" in options:
        from monitor.status.nagios import nagios

        return nagios(status)
    from monitor.status.render import render

    return render(status, colour=_colour())


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _print(text: str) -> None:
    """Everything at once and flushed here, so that a full or closed output fails now and not at Python's exit."""
    if sys.stdout is None:
        raise OSError("standard output is closed")
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def _last_words(error: BaseException) -> None:
    """What failed, if that can be said at all; then nothing is left that could fail when Python exits."""
    what = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
    try:
        _print("UNKNOWN - monitor status itself failed: " + "".join(c if c.isprintable() else " " for c in what))
    except (OSError, ValueError):
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
