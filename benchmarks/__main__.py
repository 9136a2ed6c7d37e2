"""`python -m benchmarks [--quick] [NAME ...]`: measure, print a table, and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
from pathlib import Path

from benchmarks import clouds, forecast, projections, rest, status, turn
from benchmarks.measure import ROOT, Report

_ALL = {
    "status": status.run,
    "turn": turn.run,
    "clouds": clouds.run,
    "rest": rest.run,
    "forecast": forecast.run,
    "projections": projections.run,
}
_PAGE = ROOT / "docs" / "benchmarks.md"
_HEAD = """\
| what | ours | reference | reference's | ratio (spread) | target, at most | rounds |
|---|---|---|---|---|---|---|"""
_PREFACE = """\
# Benchmarks

Ratios, because seconds are those of one machine. Each row compares two things that were measured in turns (A B A B) in
the same minutes, after a round that does not count: medians, in brackets the smallest and the largest.

- `monitor status`: wall time of the whole process, with a large ledger in the store.
- `turn`: CPU (user and system) of one whole turn - asking CloudWatch, the ledger, every budget, the files - over 1,000
  accounts with 20 services each, on day 20 of a month that the ledger holds; against boto3 that makes the same calls,
  parses the answers and does nothing else. CloudWatch is another process that speaks its protocol.
- `turn, 3 clouds`: wall time of one whole turn over three clouds with 300 accounts each, every request of which takes
  100 ms, late in a month that is in the ledger; against the slowest of the three clouds with one account, read by the
  same monitor from servers of the same kind. And its CPU, against the SDKs of the three clouds that make the same
  calls, parse the answers and do nothing else. The dollars are those of a turn in which every cloud has something new,
  as often as each source is read by default. The time is little but the CPU of one interpreter: a third of it is
  BigQuery's rows, half of that in its SDK; the rest that of Azure's rows, the ledger, and 900 budgets (one for each
  account) that are judged after each of three answers. Of waiting there is half a second.
- `daemon at rest`: resident memory of `monitor run` between turns; against Python that has imported the same modules
  and made the same AWS clients.
- `forecast`: not a ratio of costs but how wrong it is, beside two simple forecasts, on the same days. The three teams
  have one month of data and nothing before it: there the mean so far is as good or better, and nothing can be learned
  of the weekdays. With a history, and when the level changes, ours is nearer.
- `monitor compare`: wall time of the whole process, against one that imports the same modules and does nothing else.
- `plans`: CPU of reckoning 1,000 plans of three phases, each looked up in a book of 5,000 quotes; against numpy, which
  only multiplies and adds: once from the same decimals in Python, once from arrays that are there already.
- `work on offers`: CPU of setting one work on every offer of that book, against numpy that multiplies and sorts.
"""


def main() -> int:
    """Run the named benchmarks, all by default; only a whole run that is not quick writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_ALL)}; default: all")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run? The figures mean nothing")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there")
    options = parser.parse_args()
    unknown = set(options.names) - set(_ALL)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(_ALL)}")
    names = options.names or list(_ALL)
    reports = []
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        reports.append(_ALL[name](quick=options.quick))
    table = _table(reports)
    print(table)
    whole = names == list(_ALL) and not options.quick
    page = options.write or (_PAGE if whole else None)
    if page is not None:
        page.write_text(f"{_PREFACE}\n{_machine()}\n\n{table}\n", encoding="utf-8")
    return 0


def _table(reports: list[Report]) -> str:
    rows = [comparison.row for report in reports for comparison in report.comparisons]
    notes = [f"- {note}" for report in reports for note in report.notes]
    tables = [f"\n{table}" for report in reports for table in report.tables]
    return "\n".join([*([_HEAD, *rows, ""] if rows else ()), *notes, *tables])


def _machine() -> str:
    return (
        f"Measured with `python -m benchmarks` (`make bench`) on {os.cpu_count()} cores that other programs use too, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()}."
    )


if __name__ == "__main__":
    sys.exit(main())
