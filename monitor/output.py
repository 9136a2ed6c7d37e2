"""What a command says: its answer on stdout, or an error that says why not; all else on stderr, which stops nothing."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import TextIO

from monitor.errors import OutputError, Problem

_STDERR = 2


def say(text: str, out: TextIO | None = None) -> None:
    """Write it whole, on stdout or `out`. Raises OutputError."""
    stream = sys.stdout if out is None else out
    if stream is None:  # closed by whoever started us
        raise OutputError("stdout is closed; the answer could not be written")
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except OSError as error:
        raise OutputError(f"stdout could not be written: {error.strerror}") from error


def remark(text: str) -> None:
    """Write a warning, an error or a hint on stderr, if that can be: that nobody hears it is no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        for line in text.splitlines():
            if sys.stderr is not None:
                sys.stderr.write(f"monitor: {line}\n")


def warn(problems: Iterable[Problem]) -> None:
    """Remark on each."""
    for problem in problems:
        remark(f"{problem} (warning)")


def begin() -> None:
    """Let no file that is opened later take the place of a closed stdin, stdout or stderr."""
    for number in range(_STDERR + 1):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    if sys.stderr is None:
        sys.stderr = open(_STDERR, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 for life


def end() -> None:
    """Let go of what stderr did not take: at its own end Python would make another exit code of that."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDERR)


def width() -> int:
    """Columns of the terminal that stdout is; in a file or a pipe no line is broken, so that it can be searched."""
    if sys.stdout is None or not sys.stdout.isatty():
        return sys.maxsize
    import shutil

    return shutil.get_terminal_size().columns
