"""The answer of a command on stdout, or an error that says why it could not be given."""

from __future__ import annotations

import sys

from monitor.errors import OutputError


def say(text: str) -> None:
    """Write it whole. Raises OutputError."""
    if sys.stdout is None:  # closed by whoever started us
        raise OutputError("stdout is closed; the answer could not be written")
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(f"stdout could not be written: {error.strerror}") from error


def width() -> int:
    """Columns of the terminal that stdout is; in a file or a pipe no line is broken, so that it can be searched."""
    if sys.stdout is None or not sys.stdout.isatty():
        return sys.maxsize
    import shutil

    return shutil.get_terminal_size().columns
