"""What the GCP source says when it is not let in, and when BigQuery refuses: each names the permission or the step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.errors import AccessError, BadDataError, OutsideError, PermanentError, TemporaryError
from monitor.model import Batch
from monitor.simulation.gcp import Call, RefusedError
from monitor.sources import gcp_billing_export
from tests.fakes.gcp_stage import TABLE, Stage, at, line, stage_of

NOW = at("11-23T18")
PERMISSIONS = Path(__file__).parents[2] / "docs/permissions/gcp.md"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_of(tmp_path_factory.mktemp("gcp")) as made:
        made.load(line("11-03T00", "1", credits=("-0.1",)))
        yield made


@pytest.fixture
def stage(world: Stage) -> Iterator[Stage]:
    world.settings = {"backfill": "1d", "billing_endpoint": world.cloud.url}
    yield world
    world.cloud.denied.clear()
    world.cloud.script.clear()
    world.cloud.always, world.cloud.token_error, world.cloud.account_open = None, "", True
    world.bigquery.location = "US"
    world.cloud.calls.clear()


def read(stage: Stage, **settings: Any) -> Batch:
    source = stage.source(**settings)
    return source.fetch(source.windows(NOW, {}, None)[0])


def refusal(stage: Stage, kind: type[OutsideError], **settings: Any) -> str:
    with pytest.raises(kind) as caught:
        read(stage, **settings)
    said = str(caught.value)
    assert type(caught.value) is kind, type(caught.value)
    assert 20 < len(said) < 400
    assert not set(said) & set("\n<>{}") or "<billing account" in said
    assert "canary" not in said
    return said


@pytest.mark.parametrize(
    ("permission", "words"),
    [
        ("bigquery.jobs.create", ("bigquery.jobs.create", "BigQuery Job User", "project bill-proj", "`project`")),
        ("bigquery.tables.getData", ("bigquery.tables.getData", "BigQuery Data Viewer", TABLE)),
        ("bigquery.tables.get", ("allow bigquery.tables.get on table", TABLE)),
    ],
)
def test_a_permission_that_is_missing_is_named(stage: Stage, permission: str, words: tuple[str, ...]) -> None:
    stage.cloud.denied = {permission}
    said = refusal(stage, AccessError)
    assert all(word in said for word in words), said


def test_queries_may_run_in_another_project(stage: Stage) -> None:
    read(stage, project="monitoring")
    posts = [call.path for call in stage.cloud.calls if call.method == "POST"]
    assert posts == ["/bigquery/v2/projects/monitoring/jobs"] * 2


def only(path: str, refused: RefusedError) -> Any:
    return lambda call: refused if path in call.path else None


def error_of(status: int, reason: str, **headers: str) -> RefusedError:
    return RefusedError(status, reason, "canary: <b>see https://console.cloud.google.com</b>", **headers)


@pytest.mark.parametrize(
    ("refused", "kind", "words"),
    [
        (
            error_of(403, "accessNotConfigured"),
            AccessError,
            "gcloud services enable bigquery.googleapis.com --project=bill-proj",
        ),
        (error_of(403, "billingNotEnabled"), AccessError, "project bill-proj has no active billing account"),
        (error_of(401, "authError"), AccessError, "does not accept these credentials"),
        (error_of(403, "forbidden"), AccessError, "allow bigquery."),
        (error_of(403, "quotaExceeded"), TemporaryError, "a quota of project bill-proj is used up"),
        (error_of(429, "rateLimitExceeded"), TemporaryError, "too many requests"),
        (error_of(403, "rateLimitExceeded"), TemporaryError, "too many requests"),
        (error_of(500, "internalError"), TemporaryError, "BigQuery answered 500 internalError"),
        (error_of(502, "badGateway"), TemporaryError, "BigQuery answered 502"),
        (error_of(503, "backendError"), TemporaryError, "too many requests, or overloaded"),
    ],
)
@pytest.mark.parametrize("path", ["/tables/", "/jobs", "/queries/"])
def test_a_refusal_says_what_mends_it(
    stage: Stage, path: str, refused: RefusedError, kind: type[OutsideError], words: str
) -> None:
    stage.cloud.always = only(path, refused)
    assert words in refusal(stage, kind)
    asked = [call for call in stage.cloud.calls if path in call.path]
    assert len(asked) <= 3


def test_a_passing_trouble_is_sat_out_within_a_read(stage: Stage) -> None:
    twice = [error_of(500, "internalError"), error_of(403, "rateLimitExceeded")]
    stage.cloud.script.extend([error_of(503, "backendError"), None, *twice])
    assert read(stage).charges


def test_who_asks_us_to_wait_is_not_asked_again(stage: Stage) -> None:
    stage.cloud.always = lambda call: error_of(429, "rateLimitExceeded", Retry_After="600")
    with pytest.raises(TemporaryError) as caught:
        read(stage)
    assert caught.value.retry_after == timedelta(minutes=10)
    assert len(stage.cloud.calls) == 1


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gcp_billing_export_v1_0123AB_4567CD_89EF02", "did you mean gcp_billing_export_v1_0123AB_4567CD_89EF01?"),
        ("billing", "did you mean gcp_billing_export_v1_0123AB_4567CD_89EF01?"),
    ],
)
def test_a_table_that_is_not_there_names_the_nearest(stage: Stage, name: str, hint: str) -> None:
    said = refusal(stage, PermanentError, table=f"bill-proj.billing.{name}")
    assert "gcp_billing_export_v1_<billing account with _ for ->" in said
    assert said.endswith(hint)


def test_a_table_that_is_not_there_where_nothing_may_be_listed(stage: Stage) -> None:
    stage.cloud.denied = {"bigquery.tables.list"}
    said = refusal(stage, PermanentError, table="bill-proj.other.billing")
    assert said.endswith("is the export to BigQuery switched on, and the name right?")


def test_a_table_that_is_gone_between_the_look_and_the_query(stage: Stage) -> None:
    stage.cloud.always = lambda call: error_of(404, "notFound") if call.method == "POST" else None
    said = refusal(stage, PermanentError)
    assert "it was deleted, or its dataset is in another location" in said


def test_jobs_run_where_the_dataset_is(stage: Stage) -> None:
    stage.bigquery.location = "EU"
    read(stage)
    (reference, _) = [call.body["jobReference"] for call in stage.cloud.calls if call.method == "POST"]
    assert reference["location"] == "EU"


def test_a_table_of_something_else_is_named(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stage.bigquery._get_table

    def without(call: Call) -> dict[str, Any]:
        table = whole(call)
        fields = [field for field in table["schema"]["fields"] if field["name"] not in ("credits", "invoice")]
        return table | {"schema": {"fields": fields}}

    monkeypatch.setattr(
        stage.cloud,
        "_routes",
        [("GET", re.compile(r"/bigquery/v2/projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)"), without)],
    )
    said = refusal(stage, PermanentError)
    assert said == f"the table {TABLE} is no Cloud Billing export: it lacks the columns credits, invoice"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("bytesBilledLimitExceeded", "max_bytes_per_query; nothing was billed"),
        ("invalidQuery", "(invalidQuery): it needs a table with the columns of"),
    ],
)
def test_a_query_that_is_refused(stage: Stage, reason: str, words: str) -> None:
    stage.cloud.always = only("/jobs", error_of(400, reason))
    assert words in refusal(stage, PermanentError)


def test_no_credentials(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    assert "set GOOGLE_APPLICATION_CREDENTIALS to a key file, run gcloud auth" in refusal(stage, AccessError)


@pytest.mark.parametrize("text", ["", "{", '{"type": "canary"}', '{"type": "service_account"}'])
def test_a_key_file_that_is_none(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    (tmp_path / "key.json").write_text(text)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    refusal(stage, AccessError)


def test_a_key_file_that_is_not_there(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "canary.json"))
    assert "could not be found or read" in refusal(stage, AccessError)


@pytest.mark.parametrize(
    ("variable", "name", "kind"),
    [("GOOGLE_APPLICATION_CREDENTIALS", ".", "IsADirectoryError"), ("REQUESTS_CA_BUNDLE", "canary", "OSError")],
)
def test_a_file_that_cannot_be_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, variable: str, name: str, kind: str
) -> None:
    # The bundle is looked at only where there is TLS.
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", stage.cloud.url.replace("http:", "https:"))
    monkeypatch.setenv(variable, str(tmp_path / name))
    said = refusal(stage, AccessError)
    assert f"cannot be read ({kind})" in said
    assert variable in said


@pytest.mark.parametrize("error", ["invalid_grant", "unauthorized_client", "invalid_client"])
def test_credentials_that_have_expired_or_were_revoked(stage: Stage, error: str) -> None:
    stage.cloud.token_error = error
    assert "they have expired or were revoked" in refusal(stage, AccessError)


def test_a_read_that_takes_too_long_ends(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcp_billing_export, "DEADLINE_S", -1.0)
    with pytest.raises(TemporaryError):
        read(stage)


def test_rows_that_are_cut_off_are_noticed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stage.bigquery._page

    def shorter(*arguments: Any) -> dict[str, Any]:
        page = whole(*arguments)
        return page | {"totalRows": str(int(page["totalRows"]) + 1)}

    monkeypatch.setattr(stage.bigquery, "_page", shorter)
    assert "BigQuery gave 1 rows of a query that has 2" in refusal(stage, BadDataError)


def test_pages_without_end_stop(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stage.bigquery._page
    monkeypatch.setattr(stage.bigquery, "_page", lambda *arguments: whole(*arguments) | {"pageToken": "0"})
    assert "rows of a query that has" in refusal(stage, BadDataError)
    assert len(stage.cloud.calls) < 8


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("day_booked", "yesterday"),
        ("day_booked", None),
        ("invoice_month", "2026-11"),
        ("invoice_month", None),
        ("cost", "NaN"),
        ("cost", "1e400"),
        ("cost", "1_000"),
        ("cost", "\uff11"),
        ("used_until", "99999999999999999"),
        ("newest", "a while ago"),
        ("unusable", None),
    ],
)
def test_a_row_of_another_shape_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, column: str, value: Any
) -> None:
    whole = stage.bigquery._page

    def changed(*arguments: Any) -> dict[str, Any]:
        page = whole(*arguments)
        place = [field["name"] for field in page["schema"]["fields"]].index(column)
        for row in page["rows"]:
            row["f"][place] = {"v": value}
        return page

    monkeypatch.setattr(stage.bigquery, "_page", changed)
    refusal(stage, BadDataError)


@pytest.mark.parametrize(
    ("denied", "open_", "said"),
    [
        (set(), True, "its billing account is open"),
        (set(), False, "its billing account is closed: nothing more is billed"),
        ({"billing.accounts.get"}, True, "cannot be seen (allow billing.accounts.get; optional)"),
    ],
)
def test_probe_looks_at_the_account_where_it_may(stage: Stage, denied: set[str], open_: bool, said: str) -> None:
    stage.cloud.denied, stage.cloud.account_open = denied, open_
    assert stage.source().probe().endswith(said)


def test_the_permissions_are_those_of_the_document_no_more_and_no_less(stage: Stage) -> None:
    stage.cloud.asked.clear()
    read(stage)
    stage.source().probe()
    refusal(stage, PermanentError, table="bill-proj.billing.nothing")
    rows = re.findall(r"^\| `([a-zA-Z.]+)` \|(.*)\|$", PERMISSIONS.read_text("utf-8"), re.MULTILINE)
    assert stage.cloud.asked == {name for name, row in rows if "`gcp_billing_export`" in row or "optional" in row}
