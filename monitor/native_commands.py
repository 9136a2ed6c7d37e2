"""`monitor alarms plan | apply | drill`: options in, exit code out."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.clock import SystemClock
from monitor.errors import ExitCode, StoreError, UserError
from monitor.output import say

if TYPE_CHECKING:
    from monitor.config import Config
    from monitor.model import Series
    from monitor.natives import Natives, Survey
    from monitor.readings import WatchedBudget

_CHANGES_PENDING = 2


def plan(options: argparse.Namespace) -> int:
    """Say what would change."""
    from monitor import native_text as text

    natives, watched = _ready(options)
    survey = natives.survey(watched)
    say(text.plan_json(survey) if options.json else text.plan_text(survey))
    if survey.unread:
        return _unread_code(survey)
    return _CHANGES_PENDING if any(account.changes for account in survey.accounts) else ExitCode.OK


def apply(options: argparse.Namespace) -> int:
    """Change it."""
    from monitor import native_text as text
    from monitor.natives import Survey, carry_out_within

    natives, watched = _ready(options)
    before = natives.survey(watched)
    outcomes, after = [], Survey(unread=list(before.unread))
    for account in before.accounts:
        outcomes += carry_out_within(account.native, account.changes)
        after.accounts.append(natives.look_again(account, watched) if account.changes else account)
    say(text.plan_json(after, outcomes) if options.json else text.apply_text(after, outcomes))
    whole = not after.unread and not any(account.changes for account in after.accounts)
    return ExitCode.OK if whole else ExitCode.TEMPORARY


def _unread_code(survey: Survey) -> int:
    from alarms.errors import AccessError

    refused = all(isinstance(one.error, AccessError) for one in survey.unread)
    return ExitCode.NO_PERMISSION if refused else ExitCode.TEMPORARY


def _ready(options: argparse.Namespace) -> tuple[Natives, list[WatchedBudget]]:
    from monitor import logs
    from monitor.natives import Natives

    config = _config(options)
    logs.set_up(logging.ERROR, config)
    natives = Natives(config, SystemClock().now)
    return natives, natives.wanted(_known(options, config))


def _known(options: argparse.Namespace, config: Config) -> list[Series]:
    """Every series of the ledger, where a budget is made by `each`; none as long as there is no ledger."""
    from monitor.store import known_series
    from monitor.store.database import open_reading

    if not any(budget.each and budget.native for budget in config.budgets):
        return []
    with contextlib.suppress(UserError, StoreError), open_reading(_state_dir(options)) as connection:
        return list(known_series.numbered(connection).values())
    return []


def _config(options: argparse.Namespace) -> Config:
    from monitor.config import load

    config = load(_config_path(options))
    for problem in config.warnings:
        sys.stderr.write(f"monitor: {problem} (warning)\n")
    return config


def _config_path(options: argparse.Namespace) -> Path:
    from monitor.config_file import find_config

    given = getattr(options, "config", None)
    return find_config(None if given is None else str(given), os.environ, Path.cwd())


def _state_dir(options: argparse.Namespace) -> Path:
    from monitor.config_file import state_dir

    given = getattr(options, "state_dir", None)
    return state_dir(_config_path(options), None if given is None else str(given), os.environ)
