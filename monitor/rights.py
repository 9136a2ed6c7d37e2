"""Who may do what with files: the names of users, and one sentence for whoever lacks a right."""

from __future__ import annotations

import errno
import os
import pwd
import shlex
from pathlib import Path

from monitor.errors import ExitCode, UserError

# What helps somebody to whom a state directory is closed.
ADVICE = "run it as root (sudo) or as the user that the service runs as, or give another --state-dir"
# A name that nothing can have.
_NOTHING = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG))


def user_name(uid: int) -> str:
    """The name of a user, as far as this machine knows it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def myself() -> str:
    """The name of the user whose rights count here."""
    return user_name(os.geteuid())


def is_there(path: Path, advice: str = ADVICE) -> bool:
    """Whether there is such a file, which `Path.exists` does not tell the same way in every version of Python.

    Raises UserError where this user may not look; `advice`: what to do then.
    """
    try:
        path.stat()
    except PermissionError as error:
        raise UserError(f"{path} may not be looked at by {myself()}: {advice}", ExitCode.NO_PERMISSION) from error
    except OSError as error:
        if error.errno in _NOTHING:
            return False
        raise UserError(f"{path} cannot be looked at: {error.strerror}", ExitCode.TEMPORARY) from error
    except ValueError:
        return False  # no name at all
    return True


def unwritable(path: Path, error: OSError) -> UserError:
    """Why a file that somebody named cannot be written, and what to do."""
    directory = path.parent
    if isinstance(error, FileNotFoundError):
        advice = f"make the directory first: mkdir -p {shlex.quote(str(directory))}"
        return UserError(f"{path} cannot be written: there is no {directory}; {advice}", ExitCode.USAGE)
    if isinstance(error, NotADirectoryError):
        return UserError(f"{path} cannot be written: {directory} is no directory; name another file", ExitCode.USAGE)
    if isinstance(error, IsADirectoryError):
        return UserError(f"{path} is a directory; give the name of a file", ExitCode.USAGE)
    reason = (error.strerror or "it failed").lower()
    return UserError(f"{path} cannot be written: {reason}", ExitCode.NO_PERMISSION)


def is_read_only(path: Path) -> bool:
    """Whether it is on a file system that takes no writes from anybody."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
