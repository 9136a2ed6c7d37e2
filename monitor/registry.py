"""A source's `type` in the config is the name of a module in `monitor.sources`; only what is asked for is imported."""

from __future__ import annotations

import importlib
import pkgutil
from difflib import get_close_matches
from functools import cache
from types import ModuleType
from typing import cast

from alarms.settings import StrictModel
from monitor.errors import MissingExtraError, PermanentError
from monitor.ports import BillingSource, SourceDefaults

# By name and not by import statement: what a source needs is nobody's business until it is configured.
_PACKAGE = "monitor.sources"
_OURS = frozenset({"monitor", "alarms"})


@cache
def names() -> tuple[str, ...]:
    """Every type of source there is, in alphabetical order; imports none of them."""
    package = importlib.import_module(_PACKAGE)
    return tuple(
        sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))
    )


def load(name: str) -> ModuleType:
    """The module of a source type. PermanentError: unknown; MissingExtraError: lacks a package."""
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"the types of source are {', '.join(names())}."
        raise PermanentError(f'There is no source of type "{name}": {hint}')
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    except ModuleNotFoundError as error:
        raise _missing_extra(name, error) from error


def settings_of(name: str) -> type[StrictModel]:
    """The `Settings` of a source type. Raises like `load`."""
    return cast("type[StrictModel]", load(name).Settings)


def create(settings: SourceDefaults) -> BillingSource:
    """The source with these settings. Raises like `load`."""
    module = load(settings.type)
    try:
        return cast(BillingSource, module.create(settings))
    except ModuleNotFoundError as error:
        raise _missing_extra(settings.type, error) from error


def _missing_extra(name: str, error: ModuleNotFoundError) -> MissingExtraError:
    missing = (error.name or "").partition(".")[0]
    if missing in _OURS:
        # A defect of ours, which no installation cures.
        raise error
    extra = name.partition("_")[0]
    return MissingExtraError(
        f"The source type \"{name}\" needs the package {missing}: pip install 'cloud-budget-monitor[{extra}]'"
    )
