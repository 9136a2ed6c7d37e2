"""A Google Cloud on loopback: HTTP, a token for a key file, permissions, refusals on demand. APIs are added to it.

Cloud Billing is there from the start, with one account.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROJECT = "ml-billing"
_CLIENT = f"monitor@{PROJECT}.iam.gserviceaccount.com"
_TOKEN = "simulated-token"  # noqa: S105 - lets nobody in anywhere

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request to an API. `groups`: what the route's pattern took from its path."""

    method: str
    path: str
    groups: tuple[str, ...]
    query: Mapping[str, str]
    body: Json


class RefusedError(Exception):
    """What the server answers instead, as Google writes it. `details`: of the newer form of errors."""

    def __init__(self, status: int, reason: str, message: str = "refused by script", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def document(self) -> Json:
        """The body."""
        error = {"reason": self.reason, "message": str(self), "domain": "global"}
        return {"error": {"code": self.status, "message": str(self), "errors": [error], "status": self.reason}}


Route: TypeAlias = Callable[[Call], Json]


@dataclass
class GoogleCloud:
    """A context manager: on entry it is served on a free port of 127.0.0.1.

    `script`: refusals of the next calls, one each (None lets one through); `always`: of every call, if it gives one.
    `denied`: permissions that nobody has; `asked`: those that were needed so far.
    """

    script: deque[RefusedError | None] = field(default_factory=deque)
    always: Callable[[Call], RefusedError | None] | None = None
    denied: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    token_error: str = ""
    account_open: bool = True

    def __post_init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Route]] = []
        self.route("GET", r"/v1/billingAccounts/([^/]+)", self._billing_account)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where every API answers."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def environment(self, directory: Path, *, url: str | None = None) -> dict[str, str]:
        """Variables with which any Google tool talks to this cloud; a key file is written into `directory`.

        `url`: another way to it, through a proxy.
        """
        key = directory / "gcp-key.json"
        key.write_text(json.dumps(self._key()), encoding="utf-8")
        key.chmod(0o600)
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "BIGQUERY_EMULATOR_HOST": url or self.url,
            "NO_GCE_CHECK": "true",
        }

    def route(self, method: str, pattern: str, answer: Route) -> None:
        """Have an API answer what comes with this method to a path like this."""
        self._routes.append((method, re.compile(pattern), answer))

    def need(self, permission: str, message: str) -> None:
        """Raise RefusedError unless everybody has this permission."""
        self.asked.add(permission)
        if permission in self.denied:
            raise RefusedError(403, "accessDenied", message)

    def answer(self, method: str, target: str, authorization: str, body: bytes) -> Json:
        """What to say to one request. Raises RefusedError."""
        split = urlsplit(target)
        if split.path == "/token":
            return self._token()
        if not _lets_in(authorization):
            raise RefusedError(401, "authError", "Invalid Credentials")
        for wanted, pattern, answer in self._routes:
            found = pattern.fullmatch(split.path)
            if wanted == method and found:
                call = Call(method, split.path, found.groups(), dict(parse_qsl(split.query)), _read(body))
                self.calls.append(call)
                refused = self.script.popleft() if self.script else self.always and self.always(call)
                if refused is not None:
                    raise refused
                return answer(call)
        raise RefusedError(404, "notFound", f"no route {method} {split.path}")

    def _billing_account(self, call: Call) -> Json:
        self.need("billing.accounts.get", "The caller does not have permission")
        (account,) = call.groups
        return {"name": f"billingAccounts/{account}", "open": self.account_open, "displayName": "ML"}

    def _token(self) -> Json:
        if self.token_error:
            return {"error": self.token_error, "error_description": "Token has been expired or revoked."}
        return {"access_token": _TOKEN, "expires_in": 3600, "token_type": "Bearer"}

    def _key(self) -> Json:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "simulated",
            "private_key": private.decode(),
            "client_email": _CLIENT,
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }


def _lets_in(authorization: str) -> bool:
    """Our token, or what the newer clients make of a key file by themselves: a JWT that names its account."""
    kind, _, token = authorization.partition(" ")
    if kind != "Bearer":
        return False
    payload = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004 - parts of a JWT
    return token == _TOKEN or _CLIENT.encode() in base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))


def _read(body: bytes) -> Json:
    document = json.loads(body) if body else {}
    if not isinstance(document, dict):
        raise RefusedError(400, "parseError", "not an object")
    return document


def _handler_of(cloud: GoogleCloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
                body = b""
            status, headers = 200, dict[str, str]()
            try:
                document = cloud.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
                if "error" in document and self.path == "/token":
                    status = 400
            except RefusedError as refused:
                status, headers, document = refused.status, refused.headers, refused.document
            data = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - that of http.server

        def log_message(self, *_: object) -> None:
            pass

    return Handler
