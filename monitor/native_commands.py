"""`monitor alarms plan | apply | drill`: options in, exit code out."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.clock import SystemClock
from monitor.errors import ExitCode, UserError
from monitor.output import remark, say, warn

if TYPE_CHECKING:
    from alarms.reconcile import Standing
    from monitor.config import Config
    from monitor.model import Series
    from monitor.natives import Account, Natives, Survey
    from monitor.readings import WatchedBudget

_CHANGES_PENDING = 2


def plan(options: argparse.Namespace) -> int:
    """Say what would change."""
    from monitor import native_text as text

    _, natives, watched = _ready(options)
    survey = natives.survey(watched)
    say(text.plan_json(survey) if options.json else text.plan_text(survey))
    if survey.unread:
        return _unread_code(survey)
    return _CHANGES_PENDING if any(account.changes for account in survey.accounts) else ExitCode.OK


def apply(options: argparse.Namespace) -> int:
    """Change it."""
    from alarms.errors import OutsideError
    from monitor import native_text as text
    from monitor.natives import Survey, Unread, carry_out_within

    config, natives, watched = _ready(options)
    before = natives.survey(watched)
    outcomes, after = [], Survey(unread=list(before.unread))
    for account in before.accounts:
        outcomes += carry_out_within(account.native, account.changes)
        try:
            after.accounts.append(natives.look_again(account, watched) if account.changes else account)
        except OutsideError as error:
            after.unread.append(Unread(account.cloud, account.place, account.sources, account.budgets, error))
    stand = [(account, one) for account in after.accounts for one in account.standings if one.budget in account.budgets]
    _note(options, config, [_standing_row(account, one) for account, one in stand])
    say(text.plan_json(after, outcomes) if options.json else text.apply_text(after, outcomes))
    whole = not after.unread and not any(account.changes for account in after.accounts)
    return ExitCode.OK if whole else ExitCode.TEMPORARY


def drill(options: argparse.Namespace) -> int:
    """Try the whole way to a person."""
    from monitor import native_text as text
    from monitor.native_drill import run

    config, natives, watched = _ready(options)
    if options.budget is not None:
        watched = [one for one in watched if options.budget in (one.config.name, one.budget.name)]
        if not watched:
            raise UserError(f"no budget {options.budget!r} has native = true", ExitCode.USAGE)
    drilled = run(config, natives, watched, SystemClock(), everybody=options.budget is None)
    _note(options, config, drilled.rows)
    say(text.drill_json(drilled) if options.json else text.drill_text(drilled))
    return ExitCode.OK if drilled.ok else ExitCode.UNAVAILABLE


def _standing_row(account: Account, standing: Standing) -> dict[str, Any]:
    return {
        "budget": standing.budget,
        "cloud": account.cloud,
        "place": account.place,
        "state": standing.state.value,
        "detail": standing.detail,
    }


def _note(options: argparse.Namespace, config: Config, rows: list[dict[str, Any]]) -> None:
    """Store what was found, by the daemon if one runs; that it cannot be stored undoes nothing."""
    from monitor import control, native_orders, orders
    from monitor.store.reading import is_stored

    state_dir = _state_dir(options)
    try:
        if not is_stored(state_dir) and not any("drill_ok" in row for row in rows):
            return  # the first turn will see it
        left = [row for row in rows if control.ask(state_dir, native_orders.COMMAND, {"rows": [row]}) is None]
        if not left:
            return
        with orders.open_existing(state_dir) as store:
            for row in left:
                order = orders.Order(native_orders.COMMAND, {"rows": [row]}, control.person(), SystemClock().now())
                orders.obey(store, config, order)
            orders.show(store)
    except UserError as error:  # StoreError is one
        remark(f"`status` does not know of this yet: {error}")


def _unread_code(survey: Survey) -> int:
    from alarms.errors import AccessError

    refused = all(isinstance(one.error, AccessError) for one in survey.unread)
    return ExitCode.NO_PERMISSION if refused else ExitCode.TEMPORARY


def _ready(options: argparse.Namespace) -> tuple[Config, Natives, list[WatchedBudget]]:
    from monitor import logs
    from monitor.natives import Natives

    config = _config(options)
    logs.set_up(logging.ERROR, config)
    natives = Natives(config, SystemClock().now)
    return config, natives, natives.wanted(_known(options, config))


def _known(options: argparse.Namespace, config: Config) -> list[Series]:
    """Every series of the ledger, where a budget is made by `each`; none as long as there is no ledger."""
    from monitor.store import known_series
    from monitor.store.reading import NothingStoredError, open_reading

    if not any(budget.each and budget.native for budget in config.budgets):
        return []
    try:
        with open_reading(_state_dir(options)) as connection:
            return list(known_series.numbered(connection).values())
    except NothingStoredError:
        return []
    except UserError as error:  # StoreError is one
        remark(f"the budgets made by `each` are left out: {error}")
        return []


def _config(options: argparse.Namespace) -> Config:
    from monitor.config import load

    config = load(_config_path(options))
    warn(config.remarks)
    return config


def _config_path(options: argparse.Namespace) -> Path:
    from monitor.config_file import find_config

    given = getattr(options, "config", None)
    return find_config(None if given is None else str(given), os.environ)


def _state_dir(options: argparse.Namespace) -> Path:
    from monitor.config_file import state_dir

    given = getattr(options, "state_dir", None)
    return state_dir(_config_path(options), None if given is None else str(given), os.environ)
