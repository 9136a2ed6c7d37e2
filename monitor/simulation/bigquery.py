"""BigQuery on loopback: it executes the query text that is really sent, translated for DuckDB.

Tables have the schema of the Cloud Billing export and are partitioned by the day of loading. Bytes are what the named
columns of the partitions that are looked into would have, more or less; limits on them are held as BigQuery does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp

from monitor.simulation.billing_export import DDL, SCHEMA, ExportLine, values_of
from monitor.simulation.gcp import Call, GoogleCloud, Json, RefusedError

_API = r"/bigquery/v2/projects/([^/]+)"
_MIB = 1024**2
_BYTES_PER_VALUE = 24
# DuckDB has 38 digits in all: BIGNUMERIC is cut down to what amounts need, NUMERIC has 9 places as it should.
_DECIMALS = {exp.DataType.Type.BIGDECIMAL: (38, 24), exp.DataType.Type.DECIMAL: (38, 9)}
_TYPES = {"BIGINT": "INTEGER", "HUGEINT": "INTEGER", "INTEGER": "INTEGER", "DOUBLE": "FLOAT", "BOOLEAN": "BOOLEAN"}


@dataclass(frozen=True, slots=True)
class _Job:
    resource: Json
    schema: Json
    rows: Sequence[Json]


class BigQueryService:
    """Tables by `project.dataset.table`, and an API over them that is part of a `GoogleCloud`.

    `page_rows`: what a page has at most, whatever was asked for. `weight`: how many lines each line counts for where
    bytes are billed. `queries`: the texts that were run, dry runs too. `expiration_ms`: so long partitions stay;
    `made_at`: when the tables were made.
    """

    def __init__(self, cloud: GoogleCloud, *, location: str = "US") -> None:
        self.page_rows = 100_000
        self.weight = 1
        self.expiration_ms: int | None = None
        self.made_at: datetime | None = None
        self.queries: list[str] = []
        self.location = location
        self._cloud = cloud
        self._tables: dict[str, datetime] = {}
        self._jobs: dict[str, _Job] = {}
        self._lock = threading.Lock()
        self._database = duckdb.connect()
        self._database.execute("SET TimeZone = 'UTC'")
        cloud.route("GET", rf"{_API}/datasets/([^/]+)/tables/([^/]+)", self._get_table)
        cloud.route("GET", rf"{_API}/datasets/([^/]+)/tables", self._list_tables)
        cloud.route("POST", rf"{_API}/jobs", self._insert_job)
        cloud.route("GET", rf"{_API}/jobs/([^/]+)", self._get_job)
        cloud.route("GET", rf"{_API}/queries/([^/]+)", self._results)

    def create_table(self, name: str) -> None:
        """An empty export table."""
        with self._lock:
            self._database.execute(DDL.format(table=_quoted(name)))
            self._tables[name] = datetime(2020, 1, 1, tzinfo=UTC)

    def load(self, name: str, lines: Iterable[ExportLine]) -> None:
        """Append lines, as a load of Cloud Billing does; the table was last changed when the newest was loaded."""
        rows = list(lines)
        with self._lock:
            self._database.executemany(
                f"INSERT INTO {_quoted(name)} VALUES ({', '.join('?' * len(SCHEMA))})",  # noqa: S608 - a name of ours
                [values_of(line) for line in rows],
            )
            self._tables[name] = max([self._tables[name], *(line.loaded_at for line in rows)])

    def execute(self, name: str, sql: str) -> list[tuple[Any, ...]]:
        """Whatever else is to be done to a table, or asked of it, in DuckDB's own words; `{table}` is its name."""
        with self._lock:
            return self._database.execute(sql.format(table=_quoted(name))).fetchall()

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def _get_table(self, call: Call) -> Json:
        project, dataset, table = call.groups
        name = f"{project}.{dataset}.{table}"
        self._cloud.need(
            "bigquery.tables.get",
            f"Access Denied: Table {project}:{dataset}.{table}: Permission bigquery.tables.get denied on table "
            f"{project}:{dataset}.{table} (or it may not exist).",
        )
        if name not in self._tables:
            raise RefusedError(404, "notFound", f"Not found: Table {project}:{dataset}.{table}")
        ((count,),) = self.execute(name, "SELECT count(*) FROM {table}")
        expiration = {} if self.expiration_ms is None else {"expirationMs": str(self.expiration_ms)}
        made = {} if self.made_at is None else {"creationTime": str(int(self.made_at.timestamp() * 1000))}
        return {
            "kind": "bigquery#table",
            "id": f"{project}:{dataset}.{table}",
            "tableReference": {"projectId": project, "datasetId": dataset, "tableId": table},
            "schema": {"fields": [{"name": field, "type": kind} for field, kind in SCHEMA.items() if field[0] != "_"]},
            "type": "TABLE",
            "location": self.location,
            "timePartitioning": {"type": "DAY"} | expiration,
            "numRows": str(count),
            "numBytes": str(count * _BYTES_PER_VALUE * len(SCHEMA)),
            "lastModifiedTime": str(int(self._tables[name].timestamp() * 1000)),
        } | made

    def _list_tables(self, call: Call) -> Json:
        project, dataset = call.groups
        self._cloud.need("bigquery.tables.list", f"Access Denied: Dataset {project}:{dataset}")
        found = [name.split(".") for name in self._tables if name.startswith(f"{project}.{dataset}.")]
        references = [{"projectId": p, "datasetId": d, "tableId": t} for p, d, t in found]
        return {"kind": "bigquery#tableList", "tables": [{"tableReference": one} for one in references]}

    def _insert_job(self, call: Call) -> Json:
        (project,) = call.groups
        self._cloud.need(
            "bigquery.jobs.create",
            f"Access Denied: Project {project}: User does not have bigquery.jobs.create permission in project "
            f"{project}.",
        )
        configuration = call.body["configuration"]
        reference = call.body["jobReference"]
        if reference["jobId"] in self._jobs:
            raise RefusedError(409, "duplicate", "Already Exists: Job")
        location = reference.get("location") or self.location
        if location != self.location:
            raise RefusedError(404, "notFound", f"Not found: Dataset was not found in location {location}")
        asked, dry = configuration["query"], bool(configuration.get("dryRun"))
        tree, table = self._parsed(asked["query"])
        read = self._bytes(tree, table, _parameters(asked))
        billed = max(10 * _MIB, -(-read // _MIB) * _MIB)
        limit = configuration["query"].get("maximumBytesBilled")
        if not dry and limit is not None and billed > int(limit):
            message = f"Query exceeded limit for bytes billed: {limit}. {billed} or higher required."
            raise RefusedError(400, "bytesBilledLimitExceeded", message)
        job = self._run(tree, asked, reference | {"projectId": project, "location": location}, dry=dry)
        statistics = {"totalBytesProcessed": str(read), "totalBytesBilled": "0" if dry else str(billed)}
        job.resource["statistics"] = {
            "creationTime": "0",
            "startTime": "0",
            "endTime": "0",
            "totalBytesProcessed": str(read),
            "query": {**statistics, "cacheHit": False, "statementType": "SELECT", "schema": job.schema},
        }
        job.resource["configuration"] = {**configuration, "jobType": "QUERY"}
        if not dry:
            self._jobs[reference["jobId"]] = job
        return job.resource

    def _parsed(self, sql: str) -> tuple[exp.Expr, str]:
        """The query for DuckDB, and the one table that it is over."""
        try:
            tree = sqlglot.parse_one(sql, read="bigquery")
        except sqlglot.errors.SqlglotError as error:
            raise RefusedError(400, "invalidQuery", f"Syntax error: {error}") from error
        (table,) = {table.sql("bigquery").replace("`", "") for table in tree.find_all(exp.Table) if table.catalog}
        project, dataset, name = table.split(".")
        self._cloud.need(
            "bigquery.tables.getData",
            f"Access Denied: Table {project}:{dataset}.{name}: User does not have permission to query table "
            f"{project}:{dataset}.{name}, or perhaps it does not exist.",
        )
        if table not in self._tables:
            raise RefusedError(404, "notFound", f"Not found: Table {project}:{dataset}.{name}")
        for found in list(tree.find_all(exp.Table)):
            if found.catalog:
                found.replace(exp.Table(this=exp.to_identifier(table, quoted=True)))
        for kind in list(tree.find_all(exp.DataType)):
            if kind.this in _DECIMALS and not kind.expressions:
                width, places = _DECIMALS[kind.this]
                kind.replace(exp.DataType.build(f"DECIMAL({width}, {places})"))
        return tree, table

    def _bytes(self, tree: exp.Expr, table: str, parameters: Json) -> int:
        """What the named columns of the partitions have that the query is restricted to."""
        named = {column.parts[0].name for column in tree.find_all(exp.Column)} & SCHEMA.keys()
        pruned = [
            one.sql("duckdb")
            for one in tree.find_all(exp.GTE)
            if isinstance(one.this, exp.Column) and one.this.name == "_PARTITIONTIME"
        ]
        where = f" WHERE {' AND '.join(pruned)}" if pruned else ""
        used = {name: value for name, value in parameters.items() if f"${name}" in where}
        with self._lock:
            rows = self._database.execute(f"SELECT count(*) FROM {_quoted(table)}{where}", used).fetchall()  # noqa: S608 - of a parsed query
        return int(rows[0][0]) * len(named) * _BYTES_PER_VALUE * self.weight

    def _run(self, tree: exp.Expr, asked: Json, reference: Json, *, dry: bool) -> _Job:
        self.queries.append(asked["query"])
        text = tree.sql(dialect="duckdb")
        try:
            with self._lock:
                found = self._database.execute(f"EXPLAIN {text}" if dry else text, _parameters(asked))
                columns = [] if dry else [(name, str(kind)) for name, kind, *_ in found.description or ()]
                rows = [] if dry else found.fetchall()
        except duckdb.Error as error:
            raise RefusedError(400, "invalidQuery", str(error)) from error
        fields = [
            {"name": name, "type": _TYPES.get(kind.partition("(")[0], "STRING"), "mode": "NULLABLE"}
            for name, kind in columns
        ]
        resource = {
            "kind": "bigquery#job",
            "id": f"{reference['projectId']}:{reference['location']}.{reference['jobId']}",
            "jobReference": reference,
            "status": {"state": "DONE"},
        }
        cells = [{"f": [{"v": None if value is None else str(value)} for value in row]} for row in rows]
        return _Job(resource, {"fields": fields}, cells)

    def _get_job(self, call: Call) -> Json:
        return self._job(call.groups[1]).resource

    def _results(self, call: Call) -> Json:
        job = self._job(call.groups[1])
        start = int(call.query.get("pageToken") or call.query.get("startIndex") or 0)
        asked = call.query.get("maxResults")
        return self._page(job, start, self.page_rows if asked is None else min(int(asked), self.page_rows))

    def _page(self, job: _Job, start: int, size: int) -> Json:
        document = {
            "kind": "bigquery#getQueryResultsResponse",
            "schema": job.schema,
            "jobReference": job.resource["jobReference"],
            "totalRows": str(len(job.rows)),
            "rows": job.rows[start : start + size],
            "totalBytesProcessed": job.resource["statistics"]["totalBytesProcessed"],
            "jobComplete": True,
            "cacheHit": False,
        }
        return document | ({"pageToken": str(start + size)} if start + size < len(job.rows) else {})

    def _job(self, name: str) -> _Job:
        job = self._jobs.get(name)
        if job is None:
            raise RefusedError(404, "notFound", f"Not found: Job {name}")
        return job


def _quoted(name: str) -> str:
    return '"' + name.replace('"', "") + '"'


def _parameters(asked: Json) -> Json:
    found = {}
    for parameter in asked.get("queryParameters", []):
        value = parameter["parameterValue"]["value"]
        if parameter["parameterType"]["type"] == "TIMESTAMP":
            value = datetime.fromisoformat(value.replace(" UTC", "+00:00").replace("Z", "+00:00"))
        found[parameter["name"]] = value
    return found
