"""A receiver's `type` in the config is the name of a module in `alarms.notifiers`; only what is used is imported."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from functools import cache
from types import ModuleType
from typing import cast

from alarms.errors import MissingExtraError, PermanentError
from alarms.ports import Native, Notifier
from alarms.settings import ReceiverSettings, StrictModel

# By name and not by import statement: what a notifier needs is nobody's business until it is configured.
_PACKAGE = "alarms.notifiers"
_NATIVES = "alarms.native"
# The extra that brings a package, where one does.
_EXTRAS = {"boto3": "aws", "botocore": "aws", "google": "gcp", "grpc": "gcp", "azure": "azure"}


@cache
def names() -> tuple[str, ...]:
    """Every type of receiver there is, in alphabetical order; imports none of them."""
    package = importlib.import_module(_PACKAGE)
    return tuple(
        sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))
    )


def load(name: str) -> ModuleType:
    """Import the module of a receiver type. PermanentError: unknown; MissingExtraError: lacks a package."""
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"the types of receiver are {', '.join(names())}"
        raise PermanentError(f'There is no receiver of type "{name}": {hint}')
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    except ModuleNotFoundError as error:
        raise _missing_extra(name, error) from error


def settings_of(name: str) -> type[ReceiverSettings]:
    """Give the `Settings` of a receiver type. Raises like `load`."""
    return cast("type[ReceiverSettings]", load(name).Settings)


def create(settings: ReceiverSettings, *, now: Callable[[], datetime], timezone: tzinfo = UTC) -> Notifier:
    """Make the notifier of these settings, its secrets resolved. `now` is asked at each send. Raises like `load`."""
    module = load(settings.type)
    try:
        return cast(Notifier, module.create(settings, now=now, timezone=timezone))
    except ModuleNotFoundError as error:
        raise _missing_extra(settings.type, error) from error


@cache
def natives() -> tuple[str, ...]:
    """Every cloud in which there can be twins; imports none of them."""
    package = importlib.import_module(_NATIVES)
    return tuple(
        sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))
    )


def create_native(cloud: str, settings: StrictModel, *, prefix: str, now: Callable[[], datetime]) -> Native:
    """The native alarms of a cloud, as a source with these settings sees it; asks nobody yet.

    `cloud` is one of `natives`. Raises MissingExtraError.
    """
    try:
        module = importlib.import_module(f"{_NATIVES}.{cloud}")
        return cast(Native, module.create(settings, prefix=prefix, now=now))
    except ModuleNotFoundError as error:
        raise _missing_extra(cloud, error, "Native alarms in") from error


def _missing_extra(name: str, error: ModuleNotFoundError, what: str = "The receiver type") -> MissingExtraError:
    missing = (error.name or "").partition(".")[0]
    if missing == "alarms":
        # A defect of ours, which no installation cures.
        raise error
    extra = _EXTRAS.get(missing)
    install = f"cloud-budget-monitor[{extra}]" if extra else missing
    return MissingExtraError(f"{what} \"{name}\" needs the package {missing}: pip install '{install}'")
