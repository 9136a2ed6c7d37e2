"""Command lines: what may be said, the help, and how a command's failure becomes an exit code."""

from __future__ import annotations

import argparse
import logging
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from alarms.errors import OutsideError
from monitor import __version__
from monitor import commands as functions
from monitor.clock import from_text
from monitor.errors import ExitCode, OutputError, UserError
from monitor.native_arguments import add_alarms
from monitor.output import begin, end, remark, say
from monitor.projection_arguments import add_projections

log = logging.getLogger(__name__)

_EXAMPLES = """examples:
  monitor demo                          see it all work, no account needed
  monitor check-config --live           config right? sources readable?
  monitor once --json                   one turn: read, decide, tell
  monitor status --nagios               one line, and exit code 0 1 2 3
  monitor spend --by service --since 2026-11-01
  monitor notify oncall                 does a message arrive?
  monitor silence training --for 4h     no paging for a while
  monitor compare --hours 500 --on aws:p4d.24xlarge
  monitor plan                          what training will cost; 2: too much
  monitor alarms plan                   what differs inside the clouds; 2: something

Exit codes, but for status, are those of sysexits(3): 64 usage, 65 data,
69 unavailable, 75 try again later (also: another daemon is running),
77 no permission, 78 config."""


class _Parser(argparse.ArgumentParser):
    """Usage errors end with 64, one sentence and no wall of text."""

    def error(self, message: str) -> NoReturn:
        remark(f"{message}; try: {self.prog} --help")
        raise SystemExit(ExitCode.USAGE)

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ARG002 - help and version alone
        """That it could not be written argparse itself keeps to itself."""
        say(message.rstrip("\n"))


def run(arguments: list[str]) -> int:
    """Parse and run; every failure is one sentence on stderr, if that takes it, and its exit code."""
    begin()
    try:
        return _run(arguments)
    finally:
        end()


def _run(arguments: list[str]) -> int:
    parser = build_parser()
    try:
        options, unknown = parser.parse_known_args(arguments)
        if unknown:
            _refuse(options, unknown)
        return int(options.function(options))
    except UserError as error:
        return _fail(str(error), error.exit_code)
    except OutsideError as error:
        return _fail(str(error), ExitCode.UNAVAILABLE)
    except OutputError as error:
        return _unheard(error)
    except KeyboardInterrupt:
        return _fail("interrupted", ExitCode.TEMPORARY)
    except Exception as error:  # the outermost guard: a person gets a sentence, never a traceback
        log.debug("A defect.", exc_info=True)
        return _fail(
            f"a defect of this program ({type(error).__name__}); MONITOR_DEBUG=1 shows more", ExitCode.INTERNAL
        )


def _refuse(options: argparse.Namespace, unknown: list[str]) -> NoReturn:
    """Argparse itself would point to the help of all commands."""
    words = (getattr(options, name, None) for name in ("command", "kind"))
    program = " ".join(["monitor", *(word for word in words if word)])
    remark(f"unrecognized arguments: {' '.join(unknown)}; try: {program} --help")
    raise SystemExit(ExitCode.USAGE)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    common = _Parser(add_help=False)
    # SUPPRESS: given after the command it must not be overwritten by the default of the one before it.
    common.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help="config file")
    common.add_argument("--state-dir", type=Path, metavar="DIR", default=argparse.SUPPRESS, help="state directory")
    parser = _Parser(
        prog="monitor",
        description="Watches what training costs in the cloud, and tells people\nwhen it passes a budget.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"monitor {__version__}")
    parser.set_defaults(function=lambda _: _help(parser))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    _add_what_acts(_Commands(commands, common))
    _add_what_tells(_Commands(commands, common))
    add_projections(_Commands(commands, common).add)
    add_alarms(_Commands(commands, common).add, common)
    return parser


class _Commands:
    """Adds commands that share the common options, each with its examples."""

    def __init__(self, commands: argparse._SubParsersAction[_Parser], common: _Parser) -> None:
        self._commands = commands
        self._common = common

    def add(self, name: str, function: object, text: str, *examples: str) -> _Parser:
        """An empty example is the bare command."""
        command = self._commands.add_parser(
            name,
            help=text,
            description=text,
            epilog="\n  ".join(("examples:", *(f"monitor {name} {example}".rstrip() for example in examples))),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[self._common],
        )
        command.set_defaults(function=function)
        return command


def _add_what_acts(commands: _Commands) -> None:
    demo = commands.add("demo", functions.demo, "see it all work, with no account", "", "--write-config config.toml")
    demo.add_argument("--write-config", type=Path, metavar="FILE", help="leave a config to edit into a real one")
    demo.add_argument("--fast", action="store_true", help="no pauses for the eye")
    commands.add("run", functions.run, "the daemon, in the foreground (systemd starts it so)", "", "--config FILE")
    text = "one turn: read, evaluate, notify; prints what it did"
    once = commands.add("once", functions.once, text, "", "--json", "--as-of 2026-11-23T18:00:00Z")
    once.add_argument("--as-of", type=_instant, metavar="TIME", help="evaluate as though it were then (RFC 3339)")
    once.add_argument("--json", action="store_true", help="for scripts")
    notify = commands.add("notify", functions.notify, "a test message through one receiver", "oncall")
    notify.add_argument("receiver", metavar="RECEIVER", help="its name in the config")

    _add_quiet(commands)


def _add_quiet(commands: _Commands) -> None:
    text = "no paging about a budget for a while; status still tells"
    silence = commands.add("silence", functions.tell, text, 'training --for 4h --why "load test"')
    text = "such as 90m, 4h, 2d; 30d at most"
    silence.add_argument("--for", dest="duration", required=True, type=_duration, metavar="DURATION", help=text)
    silence.add_argument("--why", default="", metavar="TEXT", help="for those who read the status")
    text = "no repeats about a budget until its level changes; status still tells"
    ack = commands.add("ack", functions.tell, text, "training")
    unsilence = commands.add("unsilence", functions.tell, "end silence and ack of a budget", "training")
    for command in (silence, ack, unsilence):
        command.add_argument("budget", metavar="BUDGET", help="its name; of those made by `each`, one or all of them")
    text = "a training run reports how far it is"
    progress = commands.add("progress", functions.tell, text, "llama-ft --step 1200 --of 50000")
    progress.add_argument("run", metavar="RUN", help="the run in the scope of a budget, or its plan")
    progress.add_argument("--step", type=int, required=True, metavar="N", help="the step that it is at")
    progress.add_argument("--of", type=int, required=True, metavar="M", help="how many there are in all")
    progress.add_argument("--at", type=_instant, metavar="TIME", help="when it was there (default: now)")


def _add_what_tells(commands: _Commands) -> None:
    # For the help alone: `monitor.cli` runs it, by a faster way.
    commands.add("status", None, "what is going on; exit code 0 1 2 3", "", "--json", "--nagios")
    check = commands.add("check-config", functions.check_config, "every problem of the config at once", "", "--live")
    check.add_argument("--live", action="store_true", help="also try each source, read-only")
    check.add_argument("--json", action="store_true", help="for scripts")
    text = "the ledger: what was billed, and how old that is"
    spend = commands.add("spend", functions.spend, text, "--by service", "--by day --since 2026-11-01 --json")
    spend.add_argument("--by", default="source", metavar="KEY", help="source account service region run day tag:KEY")
    spend.add_argument("--since", type=_instant, metavar="TIME", help="first day (default: of this month), UTC")
    spend.add_argument("--until", type=_instant, metavar="TIME", help="until before then (default: now), UTC")
    spend.add_argument("--json", action="store_true", help="for scripts")


def _help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return ExitCode.USAGE


def _instant(text: str) -> datetime:
    try:
        return from_text(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-23 or 2026-11-23T18:00:00Z") from None


def _duration(text: str) -> timedelta:
    from alarms.settings import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _unheard(error: OutputError) -> int:
    """What was done is done, but stdout could not take the answer."""
    # The interpreter's last flush must not complain as well.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error.__cause__, BrokenPipeError):
        return ExitCode.OK  # whoever read it has gone, as `| head` does
    return _fail(str(error), ExitCode.UNAVAILABLE)


def _fail(message: str, code: ExitCode) -> int:
    remark(message)
    return code
