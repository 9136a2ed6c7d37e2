"""The command line of `monitor alarms`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from monitor import native_commands

_ABOUT = {
    "plan": "what would change inside the clouds; 2: something would",
    "apply": "change it; what fails half-way is done by the next",
    "drill": "prove the way to a person: alarms ring, receivers get a test message",
}
_EXAMPLES = {"plan": ("", "--json"), "apply": ("", "--config FILE"), "drill": ("", "--budget training")}


def add_alarms(add: Callable[..., argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    """Add the commands. `add`: name, function, text, examples. `common`: the options that every command has."""
    text = "the twins of the budgets inside the clouds"
    alarms = add("alarms", None, text, "plan", "apply", "drill --budget training")
    kinds = alarms.add_subparsers(dest="kind", metavar="WHAT", required=True, parser_class=type(alarms))
    for name, about in _ABOUT.items():
        kind = kinds.add_parser(
            name,
            help=about,
            description=about,
            epilog="\n  ".join(("examples:", *(f"monitor alarms {name} {one}".rstrip() for one in _EXAMPLES[name]))),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
        )
        kind.add_argument("--json", action="store_true", help="for scripts")
        if name == "drill":
            kind.add_argument("--budget", metavar="NAME", help="of this budget only, and its receivers")
        kind.set_defaults(function=getattr(native_commands, name))
