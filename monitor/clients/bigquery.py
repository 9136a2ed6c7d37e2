"""One table in BigQuery: what it looks like, and the rows of a query over it that cannot cost more than it may."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, TypeAlias

from alarms.clients.gcp import Doing, Session, permission_of, reason_of, retry, status_of, translated
from monitor.clients.query_costs import billed_for, price_of
from monitor.errors import AccessError, BadDataError, OutsideError, PermanentError, TemporaryError
from monitor.model import ApiUse
from monitor.period import midnight

Row: TypeAlias = Mapping[str, Any]

_DAY = timedelta(days=1)
_CALL_S = 20.0
_PAGE_ROWS = 20_000
# BigQuery itself ends a job after that: whoever waited for it has gone.
_JOB_MS = 50_000
_FORBIDDEN, _NOT_FOUND, _BAD_REQUEST = 403, 404, 400
# A partition goes as a whole, so long after its start: its last rows were there for so much less.
_LONGEST = {"MONTH": timedelta(days=31), "YEAR": timedelta(days=366)}


@dataclass(frozen=True, slots=True)
class Table:
    """What BigQuery says of a table. `size` in bytes; `partitioned`: by day of loading, which `_PARTITIONTIME` names.

    `settled`: `modified` and `size` tell whether rows have come since: it is no view, and nothing is in a buffer.
    `made`: when, if that is known. `keeps`: for how long a row stays in it at least, None: for ever.
    """

    location: str
    columns: frozenset[str]
    partitioned: bool
    modified: datetime | None
    size: int
    settled: bool
    made: datetime | None = None
    keeps: timedelta | None = None

    def kept_from(self, start: datetime, now: datetime) -> datetime:
        """From where on, `start` at the earliest, no row has gone by its age: none is loaded before its usage's day."""
        if self.keeps is None:
            return start
        return max(start, min(midnight((now - self.keeps).date()) + _DAY, midnight(now.date())))


class BigQuery:
    """Asks about one table (`project.dataset.table`), its jobs run in `project`. To be used for one read.

    `seconds` are for all of it.
    """

    def __init__(self, session: Session, table: str, project: str, *, seconds: float) -> None:
        self._session = session
        self._table = table
        self._project = project
        self._seconds = seconds
        self._give_up_at = time.monotonic() + seconds
        self._calls = session.calls
        self._estimated = self._billed = 0
        self._made: Any = None

    @property
    def use(self) -> ApiUse:
        """Calls made so far, and what the queries cost."""
        return ApiUse(self._session.calls - self._calls, price_of(self._billed))

    def go_on(self) -> None:
        """Another read begins, with what is left of the rows of the last."""
        self._give_up_at = time.monotonic() + self._seconds
        self._calls, self._billed = self._session.calls, 0

    def describe(self) -> Table:
        """The table as it is now. Costs nothing."""
        doing = self._doing("the question what the table is", f"bigquery.tables.get on table {self._table}")
        client = self._client(doing)
        try:
            with translated(doing):
                found = client.get_table(self._table, retry=retry(_CALL_S), timeout=_CALL_S)
        except PermanentError as error:
            cause = error.__cause__
            if status_of(cause or error) == _NOT_FOUND:
                raise PermanentError(self._not_there(client)) from cause
            raise
        with translated(doing):
            partitioning = found.time_partitioning
            return Table(
                location=str(found.location or ""),
                columns=frozenset(field.name for field in found.schema),
                partitioned=partitioning is not None and partitioning.field is None,
                modified=found.modified,
                size=int(found.num_bytes or 0),
                settled=found.table_type == "TABLE" and found.streaming_buffer is None,
                made=found.created,
                keeps=_keeps(partitioning),
            )

    def estimate(self, sql: str, parameters: Mapping[str, str | datetime], location: str) -> int:
        """The bytes that a query would read. Costs nothing."""
        doing = self._doing("a dry run of the query", self._needs_data)
        client = self._client(doing)
        with self._explained(doing, location):
            config = self._config(parameters, dry_run=True)
            job = _begun(client, sql, config, location)
            self._estimated = int(job.total_bytes_processed)
            return self._estimated

    def rows(self, sql: str, parameters: Mapping[str, str | datetime], location: str, most_bytes: int) -> Iterator[Row]:
        """Every row of a query; it is refused, and costs nothing, where it would be billed for more than `most_bytes`.

        What may have run is counted as it was estimated, if nobody says better. Raises BadDataError when other than all
        rows came.
        """
        doing = self._doing("the query", self._needs_data)
        client = self._client(doing)
        job: Any = None
        try:
            with self._explained(doing, location):
                config = self._config(parameters, maximum_bytes_billed=most_bytes, job_timeout_ms=_JOB_MS)
                job = _begun(client, sql, config, location)
                found = job.result(page_size=_PAGE_ROWS, retry=retry(_CALL_S), job_retry=None, timeout=self._left())
                self._billed += int(job.total_bytes_billed or 0) or billed_for(int(job.total_bytes_processed or 0))
        except OutsideError as error:
            if _may_have_run(job, error):
                self._billed += billed_for(self._estimated)
            raise
        return self._all_of(found, self._doing("a page of the query's rows", self._needs_data))

    def _all_of(self, found: Any, doing: Doing) -> Iterator[Row]:
        count = 0
        pages = found.pages
        while True:
            self._left()
            with translated(doing):
                page = next(pages, None)
                rows = [dict(row.items()) for row in page] if page is not None else []
            count += len(rows)
            if page is None or count > found.total_rows:
                break
            yield from rows
        if count != found.total_rows:
            raise BadDataError(f"BigQuery gave {count} rows of a query that has {found.total_rows}")

    def _left(self) -> float:
        """The seconds that are left of this read."""
        left = self._give_up_at - time.monotonic()
        if left <= 0:
            raise TemporaryError("BigQuery took too long to answer all of the query")
        return left

    def _config(self, parameters: Mapping[str, str | datetime], **more: Any) -> Any:
        from google.cloud.bigquery import QueryJobConfig, ScalarQueryParameter

        typed = [
            ScalarQueryParameter(name, "STRING" if isinstance(value, str) else "TIMESTAMP", value)
            for name, value in parameters.items()
        ]
        return QueryJobConfig(
            query_parameters=typed, use_query_cache=False, labels={"client": "cloud-budget-monitor"}, **more
        )

    def _client(self, doing: Doing) -> Any:
        if self._made is None:
            session, credentials = self._session.open(doing)
            from google.cloud import bigquery

            with translated(doing):
                self._made = bigquery.Client(project=self._project, credentials=credentials, _http=session)
        return self._made

    @property
    def _needs_data(self) -> str:
        return f"bigquery.jobs.create on project {self._project} and bigquery.tables.getData on table {self._table}"

    def _doing(self, what: str, needs: str) -> Doing:
        return Doing(what, "BigQuery", "bigquery.googleapis.com", self._project, needs)

    @contextmanager
    def _explained(self, doing: Doing, location: str) -> Iterator[None]:
        """`translated`, and what is known better of a query that was refused."""
        try:
            with translated(doing):
                yield
        except OutsideError as error:
            better = self._explain(error, location)
            if better is None:
                raise
            raise better from error.__cause__

    def _explain(self, error: OutsideError, location: str) -> OutsideError | None:
        """What is known better of a refused query than what its status says; None: nothing."""
        cause = error.__cause__
        status, reason = status_of(cause or error), reason_of(cause)
        if isinstance(error, AccessError) and status == _FORBIDDEN and reason == "accessDenied":
            named = permission_of(cause or error)
            if named == "bigquery.jobs.create":
                return AccessError(
                    f"the credentials may not run queries: allow {named} (role BigQuery Job User) on project "
                    f"{self._project}, or name another project for them in `project`"
                )
            return AccessError(
                f"the credentials may not read the rows of table {self._table}: allow bigquery.tables.getData (role "
                "BigQuery Data Viewer) on its dataset"
            )
        if reason == "bytesBilledLimitExceeded":
            return PermanentError("the query would read more than max_bytes_per_query; nothing was billed")
        if status == _NOT_FOUND:
            return PermanentError(
                f"BigQuery does not find table {self._table} from location {location or 'unknown'}: it was deleted, "
                "or its dataset is in another location"
            )
        if status == _BAD_REQUEST:
            return PermanentError(
                f"BigQuery refused the query over {self._table} ({reason or 'no reason given'}): it needs a table "
                "with the columns of the standard or the detailed Cloud Billing export"
            )
        return None

    def _not_there(self, client: Any) -> str:
        """With the nearest name, if the dataset may be looked into."""
        dataset, _, name = self._table.rpartition(".")
        try:
            with translated(self._doing("the list of tables", "bigquery.tables.list")):
                listed = client.list_tables(dataset, max_results=1000, retry=retry(_CALL_S), timeout=_CALL_S)
                known = [table.table_id for table in listed]
        except OutsideError:
            known = []
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else "is the export to BigQuery switched on, and the name right?"
        return (
            f"there is no table {self._table}; exports are named gcp_billing_export_v1_<billing account with _ for ->, "
            f"or gcp_billing_export_resource_v1_...: {hint}"
        )


def _begun(client: Any, sql: str, config: Any, location: str) -> Any:
    """The job of a query."""
    where = location or None
    return client.query(sql, job_config=config, location=where, retry=retry(_CALL_S), job_retry=None, timeout=_CALL_S)


def _may_have_run(job: Any, error: OutsideError) -> bool:
    """Whether a query is billed although it ended in an error. `job`: as it was accepted, None if that is not known."""
    if job is None:
        return isinstance(error, BadDataError) or (isinstance(error, TemporaryError) and error.uncertain)
    # One that fails is not billed, one that is stopped may be.
    return not job.error_result or job.error_result.get("reason") == "stopped"


def _keeps(partitioning: Any) -> timedelta | None:
    if partitioning is None or partitioning.expiration_ms is None:
        return None
    return timedelta(milliseconds=int(partitioning.expiration_ms)) - _LONGEST.get(partitioning.type_, _DAY)


def nearest(name: str, known: Collection[str]) -> str:
    """The known name that was most likely meant; "" if none is near."""
    found = get_close_matches(name, known, n=1) or sorted(one for one in known if one.startswith("gcp_billing_export"))
    return found[0] if found else ""
