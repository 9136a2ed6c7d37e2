"""An Azure on loopback: a tenant that logs applications in, and Cost Management over usage that is put in by hand.

Over HTTPS, with an authority of its own, because the real clients send a token nowhere else.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import trustme

from monitor.simulation.azure_budgets import GROUPS, PROVIDER, Budgets
from monitor.simulation.azure_usage import QueryError, Usage, answer, document, in_scope, page, to_json

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "66666666-7777-8888-9999-aaaaaaaaaaaa"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
OPERATION = "Microsoft.CostManagement/query/action"
READ_BUDGETS, WRITE_BUDGETS, DELETE_BUDGETS = (
    f"Microsoft.CostManagement/budgets/{right}" for right in ("read", "write", "delete")
)
READ_GROUPS = "Microsoft.Insights/actionGroups/read"
_RIGHTS = {"GET": READ_BUDGETS, "PUT": WRITE_BUDGETS, "DELETE": DELETE_BUDGETS}
_SECRET, _TOKEN = "simulated", "simulated-token"
_QUERY = "/providers/microsoft.costmanagement/query"
# The real service names its own host in nextLink, whoever was asked.
_ELSEWHERE = "https://management.azure.com"
_LARGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server says to one request."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as it came."""

    scope: str
    definition: Mapping[str, Any]
    headers: Mapping[str, str]
    token: str
    top: int


def refusal(status: int, code: str, message: str = "", **headers: str) -> Reply:
    """An error as Azure writes it; underscores in the names of headers stand for hyphens."""
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def throttled(**seconds: str) -> Reply:
    """429 by some of Azure's limits: `qpu`, `entity`, `tenant`, `clienttype`."""
    headers = {f"x-ms-ratelimit-microsoft.costmanagement-{name}-retry-after": wait for name, wait in seconds.items()}
    body = json.dumps({"error": {"code": "429", "message": "Too many requests. Please retry."}}).encode()
    return Reply(429, body, headers)


class AzureCloud:
    """Use as a context. `directory`: where its authority's certificate is put; None: plain http, behind a proxy.

    `usage` is what it bills. `script`: replies for the next queries instead of answers, None for an answer;
    `denied`: scopes that may not be read; `page_size`: rows of a page at most (without a `$top` 1,000); `empty_is_204`:
    no rows, no content. `asked` are the queries that came, `operations` what a role would have to hold for them.
    `budgets` are those that it holds; `forbidden`: operations on them that nobody may do; `spoil` may reply to each.
    """

    def __init__(self, directory: Path | None) -> None:
        self.usage: list[Usage] = []
        self.script: deque[Reply | None] = deque()
        self.denied: set[str] = set()
        self.page_size = 5000
        self.empty_is_204 = False
        self.asked: list[Asked] = []
        self.operations: set[str] = set()
        self.budgets = Budgets()
        self.forbidden: set[str] = set()
        self.spoil: Callable[[str], Reply | None] = lambda operation: None  # noqa: ARG005 - nothing is spoiled
        self.link_host = _ELSEWHERE
        self.secret = _SECRET
        self.token = _TOKEN
        # Where it says that it can be reached, if that is not where it listens.
        self.public_url = ""
        self.ca_file: Path | None = None
        self._directory = directory
        self._scheme = "http" if directory is None else "https"
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        if self._directory is not None:
            self.ca_file = self._directory / "azure-authority.pem"
            self._server.socket = _with_tls(self._server.socket, self.ca_file)
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1; 0 before it does."""
        return 0 if self._server is None else self._server.server_port

    @property
    def url(self) -> str:
        """The `endpoint_url` of a source."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which the Azure SDK logs in here and nowhere else."""
        return {
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT,
            "AZURE_CLIENT_SECRET": _SECRET,
            "AZURE_AUTHORITY_HOST": self.url,
            "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
            "NO_PROXY": "127.0.0.1",
        }

    def bill(self, day: date, service: str, cost: str, *, subscription: str = SUBSCRIPTION, **more: Any) -> None:
        """Put a line on the bill."""
        self.usage.append(Usage(day, subscription, service, Decimal(cost), **more))

    def reply(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer one request."""
        parts = urlsplit(target)
        if parts.path.endswith("/.well-known/openid-configuration"):
            return self._discovery(parts.path)
        if parts.path.endswith("/oauth2/v2.0/token"):
            return self._login(parts.path, body)
        if PROVIDER in parts.path.lower() or GROUPS in parts.path.lower():
            return self._native(method, parts.path, parts.query, headers, body)
        if method != "POST" or not parts.path.lower().endswith(_QUERY):
            return refusal(404, "InvalidResourceType", "there is no such resource here")
        if headers.get("Authorization") != f"Bearer {self.token}":
            return refusal(401, "InvalidAuthenticationToken", "The access token is invalid.")
        named = {"$top": "1000", "$skiptoken": "", **dict(parse_qsl(parts.query))}
        place, top = named["$skiptoken"], int(named["$top"])
        return self._query(Asked(parts.path[: -len(_QUERY)], json.loads(body), headers, place, top))

    def _query(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        self.operations.add(OPERATION)
        scripted = self.script.popleft() if self.script else None
        if scripted is not None:
            return scripted
        if asked.scope.lower() in {scope.lower() for scope in self.denied}:
            return refusal(403, "AuthorizationFailed", f"no authorization to perform action '{OPERATION}'")
        try:
            table = answer(in_scope(self.usage, asked.scope), asked.definition)
        except QueryError as error:
            return refusal(error.status, error.code, error.message)
        if self.empty_is_204 and not table.rows:
            return Reply(204)
        start = int(asked.token.removesuffix("==") or 0)
        rows, following = page(table, start, min(asked.top, self.page_size))
        link = None
        if following is not None:
            at = f"{asked.scope}/providers/Microsoft.CostManagement/Query"
            link = f"{self.link_host}{at}?api-version=2021-10-01&$skiptoken={quote(f'{following}==')}"
        return Reply(200, document(table, rows, asked.scope, link))

    def _native(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """One request about budgets or action groups."""
        operation = READ_GROUPS if GROUPS in path.lower() else _RIGHTS.get(method, "")
        if headers.get("Authorization") != f"Bearer {self.token}":
            return refusal(401, "InvalidAuthenticationToken", "The access token is invalid.")
        self.operations.add(operation)
        spoiled = self.spoil(operation)
        if spoiled is not None:
            return spoiled
        if operation in self.forbidden:
            return refusal(403, "AuthorizationFailed", f"no authorization to perform action '{operation}'")
        try:
            return self._answer_native(method, path, query, body)
        except QueryError as error:
            return refusal(error.status, error.code, error.message)

    def _answer_native(self, method: str, path: str, query: str, body: bytes) -> Reply:
        if GROUPS in path.lower():
            return Reply(200, to_json(self.budgets.group(path)))
        at = path.lower().index(PROVIDER)
        scope, name = path[:at], path[at + len(PROVIDER) :].strip("/")
        if not name:
            return self._listed(scope, int(dict(parse_qsl(query)).get("$skiptoken", "0").removesuffix("==")))
        status, document = self.budgets.answer(method, scope, name, body)
        return Reply(status, b"" if document is None else to_json(document))

    def _listed(self, scope: str, start: int) -> Reply:
        found, following = self.budgets.listed(scope, start)
        document: dict[str, Any] = {"value": found}
        if following is not None:
            at = f"{scope}/providers/Microsoft.CostManagement/budgets"
            link = f"{self.link_host}{at}?api-version=2025-03-01&$skiptoken={quote(f'{following}==')}"
            document["nextLink"] = link
        return Reply(200, to_json(document))

    def _discovery(self, path: str) -> Reply:
        tenant = path.strip("/").partition("/")[0]
        if tenant != TENANT:
            said = {"error": "invalid_tenant", "error_description": f"AADSTS90002: Tenant '{tenant}' not found."}
            return Reply(400, json.dumps(said).encode())
        here = f"{self.public_url or self.url}/{tenant}"
        document = {
            "issuer": f"{here}/v2.0",
            "authorization_endpoint": f"{here}/oauth2/v2.0/authorize",
            "token_endpoint": f"{here}/oauth2/v2.0/token",
        }
        return Reply(200, json.dumps(document).encode())

    def _login(self, path: str, body: bytes) -> Reply:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if path.strip("/").partition("/")[0] != TENANT or form.get("client_id") != CLIENT:
            said = "AADSTS700016: Application was not found in the directory."
            return Reply(400, json.dumps({"error": "unauthorized_client", "error_description": said}).encode())
        if form.get("client_secret") != self.secret:
            said = "AADSTS7000215: Invalid client secret provided."
            return Reply(401, json.dumps({"error": "invalid_client", "error_description": said}).encode())
        token = {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": self.token}
        return Reply(200, json.dumps(token).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a client may hang up, or not trust us."""


def _with_tls(listener: socket.socket, ca_file: Path) -> ssl.SSLSocket:
    """The listener with a certificate for 127.0.0.1, whose authority is put into `ca_file`."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(ca_file))
    # The handshake belongs into the thread of a connection, not into the one that accepts.
    return context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False)


def _handler_of(owner: AzureCloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            reply = owner.reply(
                self.command, self.path, dict(self.headers.items()), self.rfile.read(min(length, _LARGEST))
            )
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status != 204:  # noqa: PLR2004 - no content, and no length either
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def do_DELETE(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Stay silent."""

    return Handler
