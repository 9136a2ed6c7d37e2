"""The entry point. Nothing is imported here before it is needed: `monitor status` must stay fast."""

from __future__ import annotations

import sys

_OPTIONS_WITH_VALUE = ("--config", "--state-dir", "--budget", "--as-of")


def main() -> int:
    """Run the command of this process; the result is its exit code. `status` ends the process itself."""
    arguments = sys.argv[1:]
    if _command(arguments) == "status":
        from monitor import status_command

        status_command.run(arguments)
    from monitor.arguments import run

    return run(arguments)


def _command(arguments: list[str]) -> str:
    """The first word that is neither an option nor an option's value."""
    words = iter(arguments)
    for word in words:
        if word in _OPTIONS_WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""
