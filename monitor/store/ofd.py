"""Locks of open files (fcntl(2), F_OFD_*): they end with their process, and can be asked about without taking one."""

from __future__ import annotations

import fcntl
import struct

# struct flock on 64-bit Linux: type, whence, start, length (0: to the end), pid (must be 0).
_FORM = "hhqqi4x"


def hold(file: int) -> None:
    """Hold an exclusive lock until the file is closed. Raises BlockingIOError when somebody else has it."""
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_FORM, fcntl.F_WRLCK, 0, 0, 0, 0))


def is_held(file: int) -> bool:
    """Whether somebody holds it; takes nothing. Raises OSError."""
    answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, struct.pack(_FORM, fcntl.F_RDLCK, 0, 0, 0, 0))
    return bool(struct.unpack(_FORM, answer)[0] != fcntl.F_UNLCK)
