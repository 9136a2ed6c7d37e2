"""The extras that a config needs and that are not installed: looked for, and none of their packages imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from monitor.config.model import Config
from monitor.config_file import path_text, read
from monitor.config_lines import Loc, scan
from monitor.errors import Problem

# Of each extra what its modules import, as far as looking for it imports nothing but empty packages around it.
PACKAGES = {
    "aws": ("boto3",),
    "gcp": ("google.cloud.bigquery", "google.cloud.billing_v1", "google.pubsub_v1"),
    "azure": ("azure.identity", "azure.mgmt.costmanagement"),
}
_OF_RECEIVERS = {"sns": "aws"}


def missing(config: Config) -> list[Problem]:
    """A warning for each extra that is not installed, at the first table that needs it."""
    lines = scan(read(config.path).text)
    told: dict[str, Problem] = {}
    for extra, loc, verb in _needed(config):
        lacking = [name for name in PACKAGES.get(extra, ()) if not _is_there(name)]
        if lacking and extra not in told:
            message = (
                f"nothing can be {verb}: the package {lacking[0]} is not installed; "
                f"run: pip install 'cloud-budget-monitor[{extra}]'"
            )
            told[extra] = Problem(str(config.path), lines.line_of(loc), path_text(loc), message)
    return list(told.values())


def _needed(config: Config) -> Iterator[tuple[str, Loc, str]]:
    """(extra, the key that asks for it, what fails without). The extra of a source is the first word of its type."""
    receivers = [_OF_RECEIVERS.get(one.type, "") for one in config.receivers]
    yield from _of("sources", [one.type.partition("_")[0] for one in config.sources], "read")
    yield from _of("receivers", receivers, "sent")


def _of(table: str, extras: Sequence[str], verb: str) -> Iterator[tuple[str, Loc, str]]:
    for index, extra in enumerate(extras):
        yield extra, (table, index, "type"), verb


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # what is around it is not there
        return False
