"""AWS clients: whose credentials, how long, and what an error of AWS means for whoever has to decide."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from alarms.clients import dates
from alarms.clients.aws import AwsSettings, make_client, translate, translated
from alarms.errors import AccessError, MissingExtraError, OutsideError, PermanentError, TemporaryError
from tests.fakes.fault_server import FaultServer, reset_unanswered

SECRET = "canary-secret-key"


class Stub:
    """Answers every request the same, and keeps what was asked."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"{}", {}  # type: ignore[var-annotated] # filled by tests
        self.asked: list[dict[str, str]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = self.rfile.read(int(self.headers["Content-Length"]))
                stub.asked.append({**dict(self.headers), "body": request.decode()})
                status, body, headers = stub.answer(request.decode())
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def answer(self, request: str) -> tuple[int, bytes, dict[str, str]]:
        return self.status, self.body, {"Content-Type": "application/x-amz-json-1.0", **self.headers}

    def refuse(self, status: int, code: str, **headers: str) -> None:
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}
        self.body = json.dumps(
            {"__type": f"com.amazonaws#{code}", "message": f"{SECRET} arn:aws:iam::1:user/x"}
        ).encode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIACANARY",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def failure(call: Any, **arguments: Any) -> OutsideError:
    with pytest.raises(OutsideError) as caught, translated():
        call(**arguments)
    error = caught.value
    assert SECRET not in str(error)
    assert "arn:" not in str(error)
    assert error.__cause__ is not None
    return error


@pytest.mark.parametrize("code", [SECRET, "a\nb", "x" * 65, "<b>"])
def test_an_error_code_that_is_none_is_not_repeated(code: str) -> None:
    from botocore.exceptions import ClientError

    error = translate(ClientError({"Error": {"Code": code}}, "Publish"))
    assert str(error).startswith("AWS answered an error code that is none to Publish")


def list_metrics(url: str, *, retries: int = 0, **settings: Any) -> Any:
    return make_client("cloudwatch", AwsSettings(endpoint_url=url, **settings), retries=retries).list_metrics


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (400, "AccessDenied", AccessError, "allow cloudwatch:ListMetrics"),
        (403, "AccessDeniedException", AccessError, "allow cloudwatch:ListMetrics"),
        (403, "SomethingNew", AccessError, "SomethingNew to ListMetrics"),
        (400, "ExpiredToken", AccessError, "have expired"),
        (403, "ExpiredTokenException", AccessError, "have expired"),
        (403, "InvalidClientTokenId", AccessError, "does not accept these credentials"),
        (403, "SignatureDoesNotMatch", AccessError, "clock"),
        (400, "Throttling", TemporaryError, "too many requests"),
        (400, "ThrottlingException", TemporaryError, "too many requests"),
        (429, "TooManyRequestsException", TemporaryError, "too many requests"),
        (503, "ServiceUnavailable", TemporaryError, "ServiceUnavailable to ListMetrics"),
        (500, "InternalServiceFault", TemporaryError, "HTTP 500"),
        (400, "ValidationError", PermanentError, "ValidationError to ListMetrics"),
    ],
)
def test_what_aws_refuses(stub: Stub, status: int, code: str, kind: type[OutsideError], words: str) -> None:
    stub.refuse(status, code)
    error = failure(list_metrics(stub.url))
    assert type(error) is kind
    assert words in str(error)
    assert code in str(error)


def test_lost_answer_is_uncertain_and_a_throttled_call_is_not(stub: Stub) -> None:
    stub.refuse(500, "InternalFailure")
    broken = failure(list_metrics(stub.url))
    stub.refuse(400, "Throttling")
    throttled = failure(list_metrics(stub.url))
    assert isinstance(broken, TemporaryError)
    assert isinstance(throttled, TemporaryError)
    assert (broken.uncertain, throttled.uncertain) == (True, False)


def test_retry_after_is_passed_on(stub: Stub) -> None:
    stub.refuse(503, "ServiceUnavailable", Retry_After="17")
    error = failure(list_metrics(stub.url))
    assert isinstance(error, TemporaryError)
    assert error.retry_after == timedelta(seconds=17)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("0", timedelta(0)),
        ("9" * 9, timedelta(days=1)),
        ("9" * 30, None),
        ("-1", None),
        ("soon", None),
        ("Wed, 01 Jul 2099 10:00:00 GMT", timedelta(days=1)),
    ],
)
def test_who_asks_us_to_wait_is_not_asked_again_within_the_call(stub: Stub, said: str, meant: timedelta | None) -> None:
    stub.refuse(429, "TooManyRequestsException", Retry_After=said)
    error = failure(list_metrics(stub.url, retries=2))
    assert isinstance(error, TemporaryError)
    assert (error.retry_after, len(stub.asked)) == (meant, 1)


@pytest.mark.parametrize("retries", [0, 2])
def test_retries_inside_the_sdk_are_counted(stub: Stub, retries: int) -> None:
    stub.refuse(503, "ServiceUnavailable")
    failure(list_metrics(stub.url, retries=retries))
    assert len(stub.asked) == 1 + retries


def test_only_the_message_is_refused_when_it_is_the_message(stub: Stub) -> None:
    stub.status = 400
    stub.body = (
        b"<ErrorResponse><Error><Code>InvalidParameter</Code><Message>too long</Message></Error></ErrorResponse>"
    )
    sns = make_client("sns", AwsSettings(endpoint_url=stub.url), retries=0)
    error = failure(sns.publish, TopicArn="arn:aws:sns:us-east-1:1:t", Message="x")
    assert isinstance(error, PermanentError)
    assert not error.whole_receiver


def test_nobody_listens() -> None:
    error = failure(list_metrics("http://127.0.0.1:9"))
    assert isinstance(error, TemporaryError)
    assert not error.uncertain
    assert "could not be reached at 127.0.0.1 (EndpointConnectionError)" in str(error)


def test_of_whoever_is_not_reached_the_host_alone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = failure(list_metrics("http://localhost:9/canary-path?key=canary"))
    assert "could not be reached at localhost (" in str(error)
    assert "canary" not in str(error)
    monkeypatch.setenv("HTTP_PROXY", "http://user:canary@127.0.0.1:9")
    error = failure(list_metrics("http://198.51.100.1"))
    assert "could not be reached by the proxy 127.0.0.1 (ProxyConnectionError)" in str(error)
    assert "canary" not in str(error)


def test_no_credentials(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = failure(list_metrics(stub.url))
    assert isinstance(error, AccessError)
    assert "AWS_ACCESS_KEY_ID" in str(error)


def test_a_profile_that_there_is_not_is_named(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    said = 'there is no AWS profile "nobody": check AWS_PROFILE or `profile`'
    with pytest.raises(PermanentError) as by_key:
        list_metrics(stub.url, profile="nobody")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(PermanentError) as by_variable:
        list_metrics(stub.url)
    assert [str(by_key.value), str(by_variable.value)] == [said, said]


def test_endpoint_that_is_no_url() -> None:
    with pytest.raises(PermanentError, match="not a valid URL"):
        list_metrics("not a url")


def test_connection_that_is_closed_without_an_answer() -> None:
    with FaultServer(reset_unanswered) as server:
        error = failure(list_metrics(f"http://127.0.0.1:{server.port}"))
    assert isinstance(error, TemporaryError)
    assert error.uncertain


def test_timestamps_are_utc(stub: Stub) -> None:
    stub.body = json.dumps({"MetricDataResults": [{"Id": "m", "Timestamps": [1590969600], "Values": [1.5]}]}).encode()
    client = make_client("cloudwatch", AwsSettings(endpoint_url=stub.url), retries=0)
    answer = client.get_metric_data(MetricDataQueries=[], StartTime=0, EndTime=1)
    assert answer["MetricDataResults"][0]["Timestamps"] == [datetime(2020, 6, 1, tzinfo=UTC)]
    assert answer["MetricDataResults"][0]["Timestamps"][0].tzinfo is UTC


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=3652), timedelta(hours=-1)])
def test_requests_are_signed_at_the_right_time_by_a_clock_that_is_known_to_be_wrong(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    right = datetime(2026, 11, 23, 18, tzinfo=UTC)
    monkeypatch.setattr(auth, "get_current_datetime", lambda: (right + ahead).replace(tzinfo=None))
    monkeypatch.setattr(dates, "_ahead", ahead)
    list_metrics(stub.url)()
    (asked,) = stub.asked
    assert asked["X-Amz-Date"] == "20261123T180000Z"
    monkeypatch.setattr(auth, "get_current_datetime", lambda: right.replace(tzinfo=None))
    signed = asked["Authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    headers = {name: value for name, value in asked.items() if name.lower() in signed and name != "X-Amz-Date"}
    again = AWSRequest("POST", f"{stub.url}/", headers=headers, data=asked["body"])
    auth.SigV4Auth(Credentials("AKIACANARY", SECRET), "monitoring", "us-east-1").add_auth(again)
    assert again.headers["Authorization"] == asked["Authorization"], "as botocore itself signs at that time"


def test_endpoint_variables_are_honoured(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", stub.url)
    make_client("cloudwatch", AwsSettings(), retries=0).list_metrics()
    assert len(stub.asked) == 1


def test_proxy_variable_is_honoured(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", stub.url)
    error = failure(list_metrics("https://monitoring.us-east-1.amazonaws.com"))
    assert isinstance(error, TemporaryError)
    assert "Proxy" in str(error)


class TestRole:
    ROLE = "arn:aws:iam::123456789012:role/monitor"

    @pytest.fixture
    def sts(self, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", stub.url)
        self.lives = timedelta(hours=1)

        def answer(request: str) -> tuple[int, bytes, dict[str, str]]:
            if "AssumeRole" not in request:
                return 200, b"{}", {"Content-Type": "application/x-amz-json-1.0"}
            until = (datetime.now(UTC) + self.lives).isoformat()
            keys = (
                "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>"
                f"<SecretAccessKey>x</SecretAccessKey><SessionToken>t</SessionToken><Expiration>{until}</Expiration>"
                "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
            )
            return 200, keys.encode(), {"Content-Type": "text/xml"}

        stub.answer = answer  # type: ignore[method-assign] # this test's own answers
        return stub

    def test_is_assumed_once_and_used(self, sts: Stub) -> None:
        call = list_metrics(sts.url, role_arn=self.ROLE)
        call()
        call()
        assert ["AssumeRole" in asked["body"] for asked in sts.asked] == [True, False, False]
        assert "Credential=AKIACANARY/" in sts.asked[0]["Authorization"]
        assert "Credential=ASIAROLE/" in sts.asked[1]["Authorization"]

    def test_is_renewed_before_it_expires(self, sts: Stub) -> None:
        self.lives = timedelta(minutes=5)
        call = list_metrics(sts.url, role_arn=self.ROLE)
        call()
        call()
        assert sum("AssumeRole" in asked["body"] for asked in sts.asked) > 1

    def test_refusal_names_the_permission(self, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", stub.url)
        stub.status = 403
        stub.body = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
        error = failure(list_metrics(stub.url, role_arn=self.ROLE))
        assert isinstance(error, AccessError)
        assert "allow sts:AssumeRole" in str(error)


def test_client_is_cheap_enough_to_be_made_at_all(stub: Stub) -> None:
    list_metrics(stub.url)
    started = time.process_time()
    list_metrics(stub.url)
    assert time.process_time() - started < 2


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_boto3(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] in ("boto3", "botocore"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_boto3)
    with pytest.raises(MissingExtraError, match=r"pip install 'cloud-budget-monitor\[aws\]'"):
        make_client("cloudwatch", AwsSettings(), retries=0)


def test_modules_import_without_the_sdk() -> None:
    program = (
        "import sys; import alarms.clients.aws, monitor.sources.aws_cloudwatch;"
        "print([m for m in sys.modules if m.startswith('boto')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
