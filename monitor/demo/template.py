"""`monitor demo --write-config`: the shipped config.toml, for a person to edit."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from monitor.errors import ExitCode, UserError
from monitor.output import say
from monitor.rights import unwritable


def write_config(path: Path) -> int:
    """Leave the shipped config there and tell what to do next; the exit code. Raises UserError."""
    text = shipped_config()
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UserError(f"{path} is there already and was left as it is; name another file") from None
    except OSError as error:
        raise unwritable(path, error) from error
    with os.fdopen(file, "w", encoding="utf-8") as out:
        out.write(text)
    say(
        f"Wrote {path}. Put your own sources, receivers and budgets in, then:\n"
        f"  monitor check-config --config {shlex.quote(str(path))}"
    )
    return ExitCode.OK


def shipped_config() -> str:
    """The text of the config.toml that is shipped; here is a link to it, and in a wheel a copy."""
    return Path(__file__).with_name("config.toml").read_text(encoding="utf-8")
