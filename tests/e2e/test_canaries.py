"""Secrets stay where they belong: canaries in every field, every fault, then all that the process left is searched."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from monitor.simulation.aws import AwsAccount
from tests.fakes import echoes
from tests.fakes.canaries import Aviary, files_below
from tests.fakes.echoes import Changing
from tests.fakes.fault_server import Fault, FaultServer, hang, reset_unanswered
from tests.fakes.posts import PostServer

pytestmark = pytest.mark.timeout(600)  # dozens of processes each, on a machine that may be busy
ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("SEED", "20261123"))
START = datetime(2026, 11, 3, 6, tzinfo=UTC)
CONFIG = """
[monitor]
state_dir = "state"
poll = "1s"
heartbeat_url = "env:HEARTBEAT"
receivers = ["witness", "slack"]

[[sources]]
name = "aws"
type = "aws_cloudwatch"
every = "1s"

[[receivers]]
name = "witness"
type = "webhook"
url = "{witness}"
allow_private = true

[[receivers]]
name = "slack"
type = "slack"
webhook_url = "env:SLACK_WEBHOOK"
allow_private = true

[[receivers]]
name = "inline"
type = "slack"
webhook_url = "{http}/{inline}"
allow_private = true

[[receivers]]
name = "hook"
type = "webhook"
url = "file:{secrets}/hook"
secret = "credential:hmac"
headers = {{ Authorization = "env:HOOK_TOKEN", "X-Key" = '{header}' }}
allow_private = true

[[receivers]]
name = "secure"
type = "webhook"
url = "{https}/{secure}"
allow_private = true

[[receivers]]
name = "pager"
type = "pagerduty"
routing_key = "credential:pager"
url = "{http}/v2/enqueue"
allow_private = true

[[receivers]]
name = "mail"
type = "email"
host = "127.0.0.1"
port = {smtps}
tls = "implicit"
sender = "budget@example.com"
to = ["ml-leads@example.com"]
username = "monitor"
password = "file:{secrets}/mail"
ca_file = "{secrets}/ca.pem"
allow_private = true

[[receivers]]
name = "topic"
type = "sns"
topic_arn = "arn:aws:sns:us-east-1:123456789012:alarms"
endpoint_url = "{sns}"
allow_private = true

[[budgets]]
name = "training"
amount = "100"
currency = "USD"
thresholds = [{{ on = "actual", at = "80%", severity = "critical" }}]
repeat = {{ critical = "1h" }}
"""
# A defect where the secrets pass: its exception holds all of them.
DEFECT = """
import http.client, smtplib

def defect(self, *arguments, **more):
    raise RuntimeError(f"a defect with {arguments} {more}")

http.client.HTTPConnection.request = defect
smtplib.SMTP.login = defect
"""


@dataclass
class Zoo:
    """The process's whole world, and everything that came out of it."""

    directory: Path
    aviary: Aviary
    aws: AwsAccount
    witness: PostServer
    http: Changing
    https: Changing
    smtp: Changing
    sns: Changing
    ports: dict[str, int]
    environment: dict[str, str] = field(default_factory=dict)
    said: dict[str, bytes] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.directory / "in" / "config.toml"

    def command(self, *arguments: str, config: Path | None = None) -> list[str]:
        where = ("--config", str(config or self.config), "--state-dir", str(self.directory / "state"))
        return [sys.executable, "-m", "monitor", *where, *arguments]

    def run(
        self, *arguments: str, config: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            self.command(*arguments, config=config),
            env=self.environment | environment,
            cwd=self.directory / "cwd",
            capture_output=True,
            timeout=100,
            check=False,
        )
        self.keep(" ".join(arguments), done.stdout + done.stderr)
        return done

    def keep(self, what: str, said: bytes) -> None:
        self.said[f"output {len(self.said)}: {what}"] = said

    def left(self) -> dict[str, bytes]:
        """All output, all files but those that were put in, and what other receivers were told."""
        told = {f"witness {number}": post.body for number, post in enumerate(self.witness.posts)}
        out = ("state", "run", "home", "tmp", "cwd")
        return {**self.said, **told, **files_below(*(self.directory / name for name in out))}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    directory, aviary, ca = tmp_path_factory.mktemp("zoo"), Aviary(SEED), trustme.CA()
    for name in ("in", "state", "run", "home", "tmp", "cwd"):
        (directory / name).mkdir()
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(stranger)
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(trusted)
    with ExitStack() as stack:
        faults = {name: Changing(echoes.echo(403)) for name in ("http", "https", "smtp", "sns")}
        contexts = {"https": stranger, "smtp": trusted}
        ports = {
            name: stack.enter_context(FaultServer(fault, tls=contexts.get(name))).port for name, fault in faults.items()
        }
        aws, witness = stack.enter_context(AwsAccount()), stack.enter_context(PostServer())
        made = Zoo(directory, aviary, aws, witness, **faults, ports=ports)
        plant(made, ca)
        yield made


def plant(zoo: Zoo, ca: trustme.CA) -> None:
    """A canary in each field that holds a secret, in each form that a secret can have."""
    aviary, secrets = zoo.aviary, zoo.directory / "in"
    origin = f"http://127.0.0.1:{zoo.ports['http']}"
    ca.cert_pem.write_to_path(str(secrets / "ca.pem"))
    files = {
        "hook": f"{origin}/{aviary.letters('webhook url (file)')}?token={aviary.letters('webhook url, query')}",
        "hmac": aviary.password("webhook secret (credential)"),
        "pager": aviary.letters("routing key (credential)"),
        "mail": aviary.password("mail password (file)"),
    }
    for name, text in files.items():
        (secrets / name).write_text(text)
        (secrets / name).chmod(0o600)
    zoo.config.write_text(
        CONFIG.format(
            witness=f"{zoo.witness.origin}/witness",
            http=origin,
            https=f"https://127.0.0.1:{zoo.ports['https']}",
            sns=f"http://127.0.0.1:{zoo.ports['sns']}",
            smtps=zoo.ports["smtp"],
            secrets=secrets,
            inline=aviary.letters("slack url (inline)"),
            secure=aviary.letters("https url (inline)"),
            header=aviary.letters("header (inline)"),
        )
    )
    zoo.config.chmod(0o600)
    zoo.environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MONITOR_", "PYTEST_"))},
        **zoo.aws.environment,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": aviary.password("AWS secret key"),
        "AWS_SESSION_TOKEN": aviary.letters("AWS session token", 120),
        "AWS_EC2_METADATA_DISABLED": "true",
        "SLACK_WEBHOOK": f"{origin}/{aviary.letters('slack url (env)')}",
        "HOOK_TOKEN": f"Bearer {aviary.letters('header (env)')}",
        "HEARTBEAT": f"{origin}/{aviary.letters('heartbeat url')}",
        "MONITOR_DEBUG": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONPATH": str(ROOT),
        "CREDENTIALS_DIRECTORY": str(secrets),
        "RUNTIME_DIRECTORY": str(zoo.directory / "run"),
        "HOME": str(zoo.directory / "home"),
        "TMPDIR": str(zoo.directory / "tmp"),
        "NO_PROXY": "127.0.0.1",
    }


def until(happened: Callable[[], object], what: str, limit_s: float = 30) -> None:
    end = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end, f"not within {limit_s} s: {what}"
        threading.Event().wait(0.02)


def assert_silent(zoo: Zoo, capsys: pytest.CaptureFixture[str]) -> None:
    left = zoo.left()
    hits = zoo.aviary.search(left)
    forms = len(zoo.aviary.forms())
    with capsys.disabled():
        figures = f"{len(zoo.aviary.canaries)} canaries in {forms} forms, {len(left)} files and outputs"
        print(f"\n{figures}, {sum(map(len, left.values())):,} bytes: {len(hits)} hits (seed {SEED})")
    assert not hits, "\n".join(f"{hit.field} ({hit.form}) in {hit.where}: {hit.around}" for hit in hits[:20])


def test_the_search_finds_what_is_there(zoo: Zoo) -> None:
    """A search that finds nothing proves something only if it can find."""
    aviary = Aviary(1)
    for number in range(3):
        aviary.password(f"field {number}")
    for form, (field_, _) in aviary.forms().items():
        hits = aviary.search({"x": b"before " + form + b" after"})
        assert field_ in {hit.field for hit in hits}
    assert zoo.aviary.search({"x": b"nothing here, " * 1000}) == []


FAULTS: list[tuple[str, Fault, Fault, Fault]] = [
    # (name, of HTTP, of SNS, of SMTP)
    *(
        (f"echo with {status}", echoes.echo(status), echoes.aws_error(max(status, 400)), echoes.smtp(code))
        for status, code in zip(echoes.STATUSES, (535, 534, 530, 454, 421, 550, 554, 451, 235, 334) * 2, strict=False)
    ),
    ("no HTTP", echoes.no_http, echoes.no_http, echoes.smtp(500, at="EHLO")),
    ("half an answer", echoes.half, echoes.half, echoes.smtp(552, at="MAIL")),
    ("reset", reset_unanswered, reset_unanswered, echoes.smtp(220, at="EHLO")),
]


@pytest.mark.slow
def test_no_fault_of_a_receiver_makes_a_secret_sing(zoo: Zoo, capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault: a turn of the real process a day later, so that every receiver is tried again."""
    spent = 90
    for day, (name, of_http, of_sns, of_smtp) in enumerate(FAULTS):
        at = START + timedelta(days=day)
        zoo.http.now, zoo.sns.now, zoo.smtp.now, zoo.https.now = of_http, of_sns, of_smtp, of_http
        zoo.aws.publish_charge(at - timedelta(hours=1), str(spent + day))
        before = (zoo.http.heard, zoo.sns.heard, zoo.smtp.heard)
        done = zoo.run("once", "--as-of", at.isoformat())
        assert done.returncode in (0, 75), (name, done.stderr[-2000:])
        heard = (zoo.http.heard - before[0], zoo.sns.heard - before[1], zoo.smtp.heard - before[2])
        assert heard[0] >= 3, (name, heard)
    assert zoo.smtp.heard >= len(FAULTS) - 1
    assert zoo.sns.heard >= len(FAULTS) - 1
    zoo.run("status")
    zoo.run("status", "--json")
    zoo.run("status", "--nagios")
    assert b"DEAD" in next(said for what, said in zoo.said.items() if what.endswith(": status"))
    assert len(zoo.witness.posts) > 5, "others are told of the receivers that are dead"
    assert_silent(zoo, capsys)


@pytest.mark.slow
def test_no_fault_of_one_message_makes_a_secret_sing(zoo: Zoo, capsys: pytest.CaptureFixture[str]) -> None:
    for of_http, of_sns, of_smtp in (
        (echoes.echo(401), echoes.aws_error(403), echoes.smtp(535)),
        (echoes.no_http, echoes.half, echoes.smtp(500, at="EHLO")),
    ):
        zoo.http.now, zoo.sns.now, zoo.smtp.now, zoo.https.now = of_http, of_sns, of_smtp, of_http
        for receiver in ("slack", "inline", "hook", "secure", "pager", "mail", "topic"):
            done = zoo.run("notify", receiver)
            assert done.returncode == 69, done.stderr
            assert done.stderr.startswith(b"monitor: "), done.stderr
    assert_silent(zoo, capsys)


@pytest.mark.slow
def test_no_defect_makes_a_secret_sing(zoo: Zoo, capsys: pytest.CaptureFixture[str]) -> None:
    """An exception that nobody foresaw, with the secrets in its text, in the command's own thread and in others."""
    broken = zoo.directory / "in" / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(DEFECT)
    path = f"{broken}:{ROOT}"
    zoo.smtp.now = echoes.smtp(535)
    for receiver in ("slack", "hook", "pager", "mail"):
        done = zoo.run("notify", receiver, PYTHONPATH=path)
        assert done.returncode == 70, done.stderr
        assert b"a defect of this program (RuntimeError)" in done.stderr
        assert b"Traceback" in done.stderr, "MONITOR_DEBUG shows it"
    at = START + timedelta(days=26)
    zoo.aws.publish_charge(at - timedelta(hours=1), "300")
    done = zoo.run("once", "--as-of", at.isoformat(), PYTHONPATH=path)
    assert b"a defect with" in done.stderr, "the log says what failed"
    assert_silent(zoo, capsys)


@pytest.mark.slow
def test_no_proxy_makes_its_login_sing(zoo: Zoo, capsys: pytest.CaptureFixture[str]) -> None:
    login = zoo.aviary.password("proxy login")
    from urllib.parse import quote

    proxy = f"http://monitor:{quote(login, safe='')}@127.0.0.1:{zoo.ports['http']}"
    for fault in (echoes.echo(407), echoes.no_http, echoes.half):
        zoo.http.now = fault
        for receiver in ("secure", "topic"):
            config = zoo.directory / "in" / "proxied.toml"
            text = zoo.config.read_text().replace(f"http://127.0.0.1:{zoo.ports['sns']}", "https://sns.example.com")
            config.write_text(text.replace(f"https://127.0.0.1:{zoo.ports['https']}", "https://hook.example.com"))
            config.chmod(0o600)
            done = zoo.run("notify", receiver, config=config, HTTPS_PROXY=proxy, https_proxy=proxy)
            assert done.returncode == 69, done.stderr
    broken = f"http://monitor:{login}@:x"
    zoo.run("notify", "secure", config=config, HTTPS_PROXY=broken)
    zoo.run("notify", "topic", config=config, HTTPS_PROXY=broken)
    assert_silent(zoo, capsys)


def wrong_places(secret: str) -> Iterator[tuple[str, str, str]]:
    """(what, text to replace, replacement): ways to write a secret into a config where it does not belong."""
    url = f"https://hooks.slack.com/services/{secret}"
    hook = 'webhook_url = "env:SLACK_WEBHOOK"'
    yield "no quotes", hook, f"webhook_url = {secret}"
    yield "no quotes around a URL", hook, f"webhook_url = {url}"
    yield "one quote", hook, f'webhook_url = "{url}'
    yield "no key", hook, f'"{url}"'
    yield "as a key", hook, f'{hook}\n"{url}" = true'
    yield "as a bare key", hook, f"{hook}\n{secret} = true"
    yield "as a key, twice", hook, f'{hook}\n"{url}" = true\n"{url}" = true'
    yield "as a table", "[monitor]", f'["{url}"]\n[monitor]'
    yield "as a table, bare", "[monitor]", f"[{secret}]\n[monitor]"
    yield "of an unknown key", hook, f'{hook}\nwebhook = "{url}"'
    yield "in a list", hook, f'webhook_url = ["{url}"]'
    yield "in a table", hook, f'webhook_url = {{ url = "{url}" }}'
    yield "after env:", hook, f'webhook_url = "env:{url}"'
    yield "after file:", hook, f'webhook_url = "file:{url}"'
    yield "after credential:", hook, f'webhook_url = "credential:{url}"'
    yield "with a space", hook, f'webhook_url = "https://hooks.slack.com/services/ {secret}"'
    yield "with a login", hook, f'webhook_url = "https://me:{secret}@hooks.slack.com/"'
    yield "of another host", hook, f'webhook_url = "https://example.com/{secret}"\nallow_private = 1'
    yield "as a type", 'type = "slack"', f'type = "{url}"'
    yield "as a receiver", 'receivers = ["witness", "slack"]', f'receivers = ["{url}"]'
    yield "as a port", 'tls = "implicit"', f'tls = "{secret}"'
    yield "as a number", 'amount = "100"', f'amount = "{secret}"'
    yield "as a currency", 'currency = "USD"', f'currency = "{secret}"'
    yield "as a limit", 'at = "80%"', f'at = "{secret}"'
    yield "as a duration", 'poll = "1s"', f'poll = "{secret}"'
    yield "as a database", 'poll = "1s"', f'poll = "1s"\ndatabase = "postgresql://me:{secret}@db/x"'
    yield "as a time zone", 'poll = "1s"', f'poll = "1s"\ntimezone = "{url}"'
    yield "as a topic", 'topic_arn = "arn:aws:sns:us-east-1:123456789012:alarms"', f'topic_arn = "{url}"'
    yield "as an address", 'to = ["ml-leads@example.com"]', f'to = ["{secret}"]'
    yield "as a mail server", 'host = "127.0.0.1"', f'host = "smtp://me:{secret}@example.com"'
    yield "as an endpoint", 'endpoint_url = "', f'endpoint_url = "http://me:{secret}@'
    yield "as a routing key that is none", 'routing_key = "credential:pager"', f'routing_key = "{secret} {secret}"'
    yield "as a header's name", "headers = { Auth", f'headers = {{ "{secret} x" = "y", Auth'
    yield "in a header", '"X-Key" = ', f'"X-More" = "{secret}\\n{secret}", "X-Key" = '
    yield "with a wrong character", hook, f'webhook_url = "{secret}\\q"'
    yield "with NUL", hook, f'webhook_url = "{secret}\0"'


def test_no_mistake_in_a_config_makes_a_secret_sing(zoo: Zoo, capsys: pytest.CaptureFixture[str]) -> None:
    secret = zoo.aviary.letters("config, wrong place", 40)
    wrong = zoo.directory / "in" / "wrong.toml"
    good = zoo.config.read_text()
    program = "import sys; from monitor.cli import main\nfor sys.argv in eval(sys.stdin.read()): print(main())"
    calls = []
    places = list(wrong_places(secret))
    for number, (what, old, new) in enumerate(places):
        assert old in good, what
        file = wrong.with_name(f"wrong{number}.toml")
        file.write_bytes(good.replace(old, new, 1).encode())
        file.chmod(0o600)
        state = ("--config", str(file), "--state-dir", str(zoo.directory / "state"))
        calls += [["monitor", *state, *words] for words in (("check-config",), ("check-config", "--json"), ("once",))]
    # One process for all of them: only the words matter here.
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=repr(calls),
        env=zoo.environment,
        cwd=zoo.directory / "cwd",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for number, line in enumerate((done.stdout + done.stderr).splitlines()):
        zoo.keep(f"wrong configs, line {number}", line.encode())
    codes = [line for line in done.stdout.splitlines() if line.isdigit()]
    accepted = [what for number, what in enumerate(what for what, *_ in places) if codes[3 * number] != "78"]
    assert accepted == []
    assert_silent(zoo, capsys)


@pytest.mark.slow
def test_no_end_of_the_daemon_makes_a_secret_sing(zoo: Zoo, capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon with everything failing; a broken config by SIGHUP; then SIGABRT, with a stack of every thread."""
    zoo.http.now, zoo.https.now, zoo.smtp.now, zoo.sns.now = echoes.echo(404), hang, echoes.smtp(454), hang
    now = datetime.now(UTC)
    zoo.aws.publish_charge(max(now - timedelta(hours=1), now.replace(day=1, hour=0, minute=0, second=0)), "500")
    good = zoo.config.read_text()
    for number, end in enumerate((signal.SIGTERM, signal.SIGABRT)):
        state = zoo.directory / "state" / f"daemon{number}"
        log = zoo.directory / "tmp" / f"daemon{number}.log"
        command = [*zoo.command()[:5], "--state-dir", str(state), "run"]
        heard, posts = zoo.http.heard, len(zoo.witness.posts)
        with log.open("wb") as file:
            process = subprocess.Popen(command, env=zoo.environment, stdout=file, stderr=file)
        try:
            until(lambda heard=heard: zoo.http.heard >= heard + 4, "receivers and heartbeat being called")
            until(lambda posts=posts: len(zoo.witness.posts) > posts, "the witness hearing of it")
            secret = zoo.aviary.letters(f"config, reloaded {number}", 40)
            zoo.config.write_text(good.replace('poll = "1s"', f'poll = "1s"\n"https://x/{secret}" = {secret}'))
            process.send_signal(signal.SIGHUP)
            until(lambda log=log: b"The new config is broken" in log.read_bytes(), "the reload")
            zoo.run("status", "--state-dir", str(state))
        finally:
            zoo.config.write_text(good)
            process.send_signal(end)
            process.wait(60)
        if end is signal.SIGTERM:
            assert process.returncode == 0
        else:  # Python may crash while it looks at threads that run on: SIGSEGV then
            assert process.returncode in (-signal.SIGABRT, -signal.SIGSEGV)
            assert b"Fatal Python error: Aborted" in log.read_bytes(), "faulthandler spoke"
    assert_silent(zoo, capsys)


@pytest.mark.slow
def test_no_credentials_file_sings(zoo: Zoo, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys from a file that the SDK reads by itself, which nobody told the log of."""
    file = zoo.directory / "in" / "aws"
    keys = {
        "secret": zoo.aviary.letters("AWS file, secret key", 40),
        "token": zoo.aviary.letters("AWS file, token", 90),
    }
    text = "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = {secret}\naws_session_token = {token}\n"
    file.write_text(text.format(**keys))
    gone = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    kept = zoo.environment
    zoo.environment = {name: value for name, value in kept.items() if name not in gone}
    try:
        for fault in (echoes.aws_error(403), echoes.echo(403), echoes.echo(200), echoes.no_http):
            zoo.sns.now = fault
            place = f"http://127.0.0.1:{zoo.ports['sns']}"
            more = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_ENDPOINT_URL_CLOUDWATCH": place}
            assert zoo.run("notify", "topic", **more).returncode == 69
            assert zoo.run("check-config", "--live", **more).returncode == 78
            zoo.run("once", "--as-of", (START + timedelta(days=26, hours=1)).isoformat(), **more)
        file.write_text(text.format(**keys).replace("[default]", f"[default\n{keys['token']}"))
        zoo.run("notify", "topic", AWS_SHARED_CREDENTIALS_FILE=str(file))
    finally:
        zoo.environment = kept
    assert_silent(zoo, capsys)
