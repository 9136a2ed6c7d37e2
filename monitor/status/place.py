"""Where the stored state lies: the same answer as every other command gives, for a fraction of the time."""
# pathlib alone would add a sixth to the time that `monitor status` takes.
# ruff: noqa: PTH100, PTH110, PTH116, PTH118, PTH120, PTH123

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False  # that of `typing`, without the import: a sixth of the time of `monitor status`
if TYPE_CHECKING:
    from typing import Any

CONFIG_VARIABLE = "MONITOR_CONFIG"
LOCAL_CONFIG = "config.toml"
SYSTEM_CONFIG = "/etc/cloud-budget-monitor/config.toml"
# Kept by the daemon where every user may read it (its RuntimeDirectory).
SYSTEM_STATUS = "/run/cloud-budget-monitor/status.json"
_DEFAULT = "state"
# As in `monitor.config_file`, whose import would take too long.
_MOST = 1024 * 1024


class NoPlaceError(Exception):
    """The config does not tell where the state is. The message is a sentence for a person; `do`: what can be done."""

    def __init__(self, message: str, do: str = "repair it, or name the place: --state-dir DIR") -> None:
        super().__init__(message)
        self.do = do


class Place:
    """`state_dir`: None when only the system's status.json is left to look at. `system`: whether that may be used.

    `config`: the file that names it, if one does.
    """

    __slots__ = ("config", "state_dir", "system")

    def __init__(self, state_dir: str | None, *, system: bool, config: str | None = None) -> None:
        self.config = config
        self.state_dir = state_dir
        self.system = system


def find_place(config: str | None, state_dir: str | None) -> Place:
    """From `--config` and `--state-dir` (None: not given), the environment, and the config. Raises NoPlaceError."""
    given = state_dir or os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Place(os.path.abspath(given), system=False)
    path = config or os.environ.get(CONFIG_VARIABLE) or _usual_config()
    if path is None:
        return Place(None, system=True)
    system = os.path.abspath(path) == SYSTEM_CONFIG
    try:
        text = _text_of(path)
    except PermissionError as error:
        if system:
            return Place(None, system=True)
        do = "let this user read it or run as another, or name the place: --state-dir DIR"
        raise NoPlaceError(f"{path} may not be read by this user; pass --state-dir DIR", do) from error
    name = _state_dir_in(text, path)
    return Place(os.path.join(os.path.dirname(os.path.abspath(path)), name), system=system, config=path)


def what_is_wrong(config: str) -> str:
    """Why this file can be nobody's config, which `find_place` need not have noticed; "" if it is one.

    Reads it as TOML, which takes longer than all the rest of `status`.
    """
    try:
        _parsed(_text_of(config), config)
    except (NoPlaceError, PermissionError) as error:
        return str(error)
    return ""


def _usual_config() -> str | None:
    return next((path for path in (LOCAL_CONFIG, SYSTEM_CONFIG) if os.path.exists(path)), None)


def _text_of(path: str) -> str:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise NoPlaceError(f"{path} is not a file, so it is no config; pass --config FILE or --state-dir DIR")
        with open(path, encoding="utf-8") as file:
            text = file.read(_MOST + 1)
    except PermissionError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        do = "write one: `monitor demo --write-config FILE`, or name another: --config FILE"
        raise NoPlaceError(f"no config at {path}; pass --config FILE or --state-dir DIR", do) from error
    except (OSError, ValueError) as error:
        raise NoPlaceError(f"{path} cannot be read as UTF-8 text; see: monitor check-config") from error
    if len(text) > _MOST:
        raise NoPlaceError(f"{path} is larger than 1 MiB, which no config is; check that this is the right file")
    return text


def _state_dir_in(text: str, path: str) -> str:
    quick = _quick_look(text)
    if quick is not None:
        return quick
    section = _parsed(text, path).get("monitor", {})
    name = section.get("state_dir", _DEFAULT) if isinstance(section, dict) else None
    if not isinstance(name, str) or not name:
        raise NoPlaceError(f'{path}: [monitor] state_dir must be a text such as "state"; see: monitor check-config')
    return name


def _parsed(text: str, path: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise NoPlaceError(
            f"{path} is not valid TOML, so where the state is cannot be told; see: monitor check-config"
        ) from error


def _quick_look(text: str) -> str | None:
    """`state_dir` where one line says it in the usual form, "state" where none does; None: parse it properly.

    Importing tomllib would take longer than all the rest of `status`. Without multi-line strings and backslashes a line
    that starts with "[" and reads `[monitor]` can only be that table's header, so what follows is certain.
    """
    if '"""' in text or "'''" in text or "\\" in text:
        return None
    lines = [line.strip() for line in text.splitlines()]
    naming = [number for number, line in enumerate(lines) if "state_dir" in line and not line.startswith("#")]
    if not naming:
        return _DEFAULT
    table = next((line for line in reversed(lines[: naming[0]]) if line.startswith("[")), "").split("#")[0].strip()
    key, _, value = lines[naming[0]].partition("=")
    value = value.strip()
    quote = value[:1]
    name, _, after = value[1:].partition(quote) if quote in ('"', "'") else ("", "", "")
    usual = key.strip() == "state_dir" and table == "[monitor]" and (not after.strip() or after.strip().startswith("#"))
    return name if len(naming) == 1 and usual and name else None
