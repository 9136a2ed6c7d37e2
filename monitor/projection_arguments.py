"""The command line of what looks ahead: `plan`, `compare` and `prices`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

from monitor import projection_commands as functions

# The commonest choices; a date is a third.
_QUOTES = ("current", "article")
_MOST_INTERRUPTIONS = Decimal(60)


def add_projections(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands. `add`: name, function, text, examples."""
    text = "what the training plans of the config will cost; exit code 2 when one exceeds its budget"
    examples = ("", "deepseek-ft", "deepseek-ft --json | jq '.plans[0].p90'", "deepseek-ft --plot plan.svg")
    plan = add("plan", functions.plan, text, *examples)
    plan.add_argument("name", nargs="?", metavar="NAME", help="one plan; without it all of them")
    plan.add_argument("--json", action="store_true", help="for scripts")
    text = "also draw it, into a file .svg or .png: the curve, P10 to P90, the budget, what was spent"
    plan.add_argument("--plot", metavar="FILE", help=text)
    compare = add(
        "compare",
        functions.compare,
        "the same work on every offer and on own hardware, cheapest first",
        "deepseek-ft",
        "deepseek-ft --plot offers.png",
        "--hours 500 --on aws:p4d.24xlarge",
        "--gpu-hours 4000 --gpu A100-80GB --json",
        "--hours 100 --on ciuic:8xA100 --quotes article --discount DEEPSEEK2024",
        "--gpu-hours 4000 --gpu H100 --interruptions-per-hour 0.05 \\\n      --checkpoint-every 30m --restart 10m",
    )
    compare.add_argument("name", nargs="?", metavar="NAME", help="the work of this plan, held against its constraints")
    compare.add_argument("--gpu-hours", metavar="N", help="the work, in hours of one GPU; with --gpu")
    compare.add_argument("--gpu", metavar="MODEL", help="such as A100-80GB, H100")
    compare.add_argument("--hours", metavar="N", help="the work, in hours of one offer; with --on")
    compare.add_argument(
        "--on", metavar="OFFER", help="such as aws:p4d.24xlarge, local:rig; `monitor prices` lists them"
    )
    _add_quotes(compare, "those of the plan, else current", None)
    compare.add_argument("--discount", metavar="CODE", help="a discount code of a seller")
    compare.add_argument("--new-customer", action="store_true", help="what the code gives for the first month")
    compare.add_argument(
        "--interruptions-per-hour", type=_rate, metavar="RATE", help="how often a spot machine is taken away"
    )
    compare.add_argument("--checkpoint-every", type=_duration, metavar="DURATION", help="how often work is saved (1h)")
    compare.add_argument("--restart", type=_duration, metavar="DURATION", help="until work goes on again (10m)")
    text = "also draw it, into a file .svg or .png: the cost of each offer, and when own hardware pays"
    compare.add_argument("--plot", metavar="FILE", help=text)
    compare.add_argument("--json", action="store_true", help="for scripts")
    prices = add("prices", functions.prices, "the dated price book", "", "list --quotes article", "list --json")
    prices.add_argument("action", nargs="?", choices=("list", "refresh"), default="list", help="default: list")
    _add_quotes(prices, _QUOTES[0], _QUOTES[0])
    prices.add_argument("--json", action="store_true", help="for scripts")


def _add_quotes(command: argparse.ArgumentParser, default: str, value: str | None) -> None:
    text = f"current: the newest known; article; or a date: as known then (default: {default})"
    command.add_argument("--quotes", type=_quotes, default=value, metavar="WHICH", help=text)


def _quotes(text: str) -> str | date:
    if text in _QUOTES:
        return text
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not current, article or a date such as 2026-11-01") from None


def _rate(text: str) -> Decimal:
    from alarms.money import parse_amount

    try:
        rate = parse_amount(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 0 <= rate <= _MOST_INTERRUPTIONS:
        raise argparse.ArgumentTypeError(f"expected 0 to {_MOST_INTERRUPTIONS} an hour, not {text}")
    return rate


def _duration(text: str) -> timedelta:
    from alarms.settings import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
