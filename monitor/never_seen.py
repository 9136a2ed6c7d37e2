"""What the scope of a budget names and no charge ever had: a misspelt service, a run that has not begun. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias

from monitor.model import UNATTRIBUTED, Scope, Series
from monitor.suggestions import never_charged

_KINDS = ("account", "service", "region", "run")

_Values: TypeAlias = Mapping[str, Collection[str]]


class NeverSeen:
    """Looks through the series of a ledger, once for each source and only when it is asked."""

    def __init__(self, series: Collection[Series]) -> None:
        self._series = series
        self._found: dict[str, _Values] = {}

    def of(self, scope: Scope, sources: Collection[str], *, listed: bool = True) -> Iterator[str]:
        """A sentence on each name in the scope that no charge of these sources ever had, with the nearest that one had.

        None as long as there was no charge at all: then it is not the scope. `listed`: where none is near, name all
        there are.
        """
        by_source = [values for source in sources if (values := self._values(source))]
        for kind in _KINDS if by_source else ():
            missing = [name for name in getattr(scope, kind) if not any(name in values[kind] for values in by_source)]
            known = sorted(set[str]().union(*(values[kind] for values in by_source))) if missing else ()
            for name in missing:
                yield never_charged(kind, name, known, listed=listed)

    def _values(self, source: str) -> _Values:
        if source not in self._found:
            mine = [one for one in self._series if one.source == source]
            none = {"", UNATTRIBUTED}
            self._found[source] = {kind: {getattr(one, kind) for one in mine} - none for kind in _KINDS if mine}
        return self._found[source]
