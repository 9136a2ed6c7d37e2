"""One function per command of what looks ahead: options in, exit code out."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.clock import SystemClock
from monitor.errors import ExitCode, UserError
from monitor.output import say, warn
from monitor.rights import is_there

if TYPE_CHECKING:
    from monitor.config import Config
    from monitor.plan_answer import Answer
    from monitor.training.book import PriceBook
    from monitor.training.spot import Interruptions

_CHECKPOINT = timedelta(hours=1)
_RESTART = timedelta(minutes=10)


def plan(options: argparse.Namespace) -> int:
    """Reckon the plans and set them against their budgets."""
    from monitor import plan_answer
    from monitor.config import load, state_dir
    from monitor.config.prices import read_prices
    from monitor.plan_text import as_text

    target = _target(options)
    path = _config_path(options)
    config = load(path)
    warn(config.remarks)
    option = getattr(options, "state_dir", None)
    state = state_dir(path, None if option is None else str(option), os.environ)
    now = SystemClock().now()
    answers = plan_answer.answer(config, options.name, lambda: read_prices(path)[0], state, now)
    if target is not None:
        _draw_plan(config, answers, target)
    say(plan_answer.as_json(answers) if options.json else as_text(answers))
    return ExitCode.OK if all(one.fits is not False for one in answers) else ExitCode.OVER_BUDGET


def _draw_plan(config: Config, answers: Sequence[Answer], target: Path) -> None:
    from monitor import plan_actual
    from monitor.pictures.plan import Ceiling, PlanPicture, draw

    if len(answers) != 1:
        names = ", ".join(one.projection.plan.name for one in answers)
        told = f"name it: {names}" if answers else "the config has none"
        raise UserError(f"--plot draws one plan; {told}", ExitCode.USAGE)
    projection, ledger = answers[0].projection, answers[0].ledger
    budget = next((one for one in config.budgets if one.name == projection.plan.budget), None)
    if budget is None or ledger is None:
        draw(PlanPicture(projection), target)
        return
    ceilings = [Ceiling(*one) for one in plan_actual.ceilings_of(budget, projection, ledger)]
    actual = plan_actual.actual_of(ledger, budget.period, projection.curve[0][0])
    draw(PlanPicture(projection, ceilings, actual), target)


def _target(options: argparse.Namespace) -> Path | None:
    """Where the picture goes: looked at first, so that nobody waits for what cannot be drawn."""
    if options.plot is None:
        return None
    from monitor.pictures.canvas import check_target

    return check_target(options.plot)


def compare(options: argparse.Namespace) -> int:
    """Show the same work everywhere."""
    from monitor import comparison
    from monitor.comparison_text import as_text

    now = SystemClock().now()
    target = _target(options)
    path = _config_path(options)
    config = _config_if_any(options, path)
    book = _book(path)
    plan = None if options.name is None else comparison.plan_named(options.name, () if config is None else config.plans)
    question = comparison.Question(
        plan=plan,
        gpu_hours=options.gpu_hours,
        gpu=options.gpu,
        hours=options.hours,
        on=options.on,
        quotes=options.quotes,
        discount=options.discount,
        new_customer=options.new_customer,
        interruptions=_interruptions(options),
    )
    found = comparison.answer(
        question,
        book,
        rigs=() if config is None else config.local,
        exchange=() if config is None else config.exchange,
        now=now,
    )
    name = None if plan is None else plan.name
    if target is not None:
        from monitor.pictures.compare import draw

        draw(found, name, target)
    say(comparison.as_json(found, plan) if options.json else as_text(found, question.which, name))
    return ExitCode.OK


def prices(options: argparse.Namespace) -> int:
    """List the price book."""
    from monitor import comparison
    from monitor.comparison_text import prices_text
    from monitor.config_file import read

    if options.action == "refresh":
        sentence = "prices refresh is not in this version; write newer quotes into prices.toml beside the config"
        raise UserError(sentence, ExitCode.USAGE)
    now = SystemClock().now()
    path = _config_path(options)
    if _is_asked_for(options):
        read(path)  # of which only the place counts here, but one that is not there is a mistake
    book = _book(path)
    chosen = book.choose(options.quotes, now)
    say(comparison.prices_json(chosen) if options.json else prices_text(chosen, options.quotes, now))
    return ExitCode.OK


def _book(config: Path) -> PriceBook:
    """What ships, with what stands beside a config. Nothing is loaded that only reading such a file needs."""
    from monitor.config_file import CONFIG_ADVICE, PRICES_FILE
    from monitor.training.book import shipped

    if not is_there(config.parent / PRICES_FILE, CONFIG_ADVICE):
        return shipped()
    from monitor.config.prices import read_prices

    book, warnings = read_prices(config)
    warn(warnings)
    return book


def _config_path(options: argparse.Namespace) -> Path:
    from monitor.config_file import find_config

    option = getattr(options, "config", None)
    return find_config(None if option is None else str(option), os.environ)


def _config_if_any(options: argparse.Namespace, path: Path) -> Config | None:
    """The config, or None where none is asked for and there is none: then there is no hardware of one's own."""
    from monitor.config_file import CONFIG_ADVICE

    if not _is_asked_for(options) and not is_there(path, CONFIG_ADVICE):
        return None
    from monitor.config import load

    config = load(path)
    warn(config.remarks)
    return config


def _is_asked_for(options: argparse.Namespace) -> bool:
    return getattr(options, "config", None) is not None or bool(os.environ.get("MONITOR_CONFIG"))


def _interruptions(options: argparse.Namespace) -> Interruptions | None:
    from monitor.training.spot import Interruptions

    if options.interruptions_per_hour is None:
        if options.checkpoint_every is not None or options.restart is not None:
            sentence = "--checkpoint-every and --restart need --interruptions-per-hour"
            raise UserError(sentence, ExitCode.USAGE)
        return None
    return Interruptions(
        options.interruptions_per_hour,
        _hours(options.checkpoint_every or _CHECKPOINT),
        _hours(options.restart or _RESTART),
    )


def _hours(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(seconds=1)) / 3600
