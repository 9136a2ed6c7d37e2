"""Bad configs: each with the exact line, path and sentence that a person gets. HERE marks the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.config import load
from monitor.errors import ConfigError, ExitCode

GOOD = """\
[monitor]
poll = "5m"

[[sources]]
name = "aws"
type = "aws_cloudwatch"
currency = "USD"
by = ["service"]

[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:SLACK"

[[receivers]]
name = "topic"
type = "sns"
topic_arn = "arn:aws:sns:us-east-1:123456789012:MyTopic"

[[budgets]]
name = "training"
amount = "1000"
currency = "USD"
period = "month"
receivers = ["oncall", "topic"]
thresholds = [
  { on = "actual", at = "80%", severity = "warning" },
  { on = "actual", at = "100%", severity = "critical" },
]
"""


def problems(directory: Path, text: str) -> list[tuple[int | None, str, str]]:
    path = directory / "config.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.exit_code == ExitCode.CONFIG
    assert all(problem.file == str(path) for problem in caught.value.problems)
    return [(problem.line, problem.path, problem.message) for problem in caught.value.problems]


def warnings(directory: Path, text: str) -> list[tuple[int | None, str, str]]:
    path = directory / "config.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return [(problem.line, problem.path, problem.message) for problem in load(path).warnings]


def marked(text: str) -> int:
    (line,) = (number for number, line in enumerate(text.splitlines(), 1) if "HERE" in line)
    return line


BUDGET = 'currency = "USD"\nperiod = "month"'

CURRENCY = 'expected a currency of three capital letters, such as "USD"'
TOPIC = """[[receivers]]
name = "topic"
type = "sns"
topic_arn = "arn:aws:sns:us-east-1:123456789012:MyTopic"
"""
NOT_PLAIN = (
    "is not a plain decimal amount such as 12.50; write it out, with at most 15 digits before the point and 18 after it"
)

# Each: what is replaced, by what, the path of the problem, its sentence.
CASES = [
    # unknown keys and tables
    ('poll = "5m"', 'pol = "5m" # HERE', "monitor.pol", 'unknown key; did you mean "poll"?'),
    (
        'poll = "5m"',
        "colour = 1 # HERE",
        "monitor.colour",
        (
            "unknown key; the keys here are state_dir, poll, timezone, receivers, database, heartbeat_url, "
            "native_every, native_prefix, drill_every"
        ),
    ),
    ("[monitor]", 'poll = "1m" # HERE\n[monitor]', "poll", "unknown key; poll belongs under [monitor]"),
    ("[monitor]", "[[budget]] # HERE\n[monitor]", "budget", 'unknown key; did you mean "budgets"?'),
    (
        "[monitor]",
        "[daemon] # HERE\n[monitor]",
        "daemon",
        "unknown key; the keys here are monitor, sources, receivers, budgets, local, exchange, plans",
    ),
    (BUDGET, f"{BUDGET}\ntresholds = [] # HERE", "budgets[0].tresholds", 'unknown key; did you mean "thresholds"?'),
    (
        '"80%", severity',
        '"80%", colour = 1, severity',
        "budgets[0].thresholds[0].colour",
        "unknown key; the keys here are on, at, severity, receivers, over",
    ),
    (BUDGET, f'{BUDGET}\nscope.servce = "x" # HERE', "budgets[0].scope.servce", 'unknown key; did you mean "service"?'),
    (
        BUDGET,
        f'{BUDGET}\nrepeat = {{ criticl = "1h" }} # HERE',
        "budgets[0].repeat.criticl",
        'unknown key; did you mean "critical"?',
    ),
    (
        'webhook_url = "env:SLACK"',
        'webhook_url = "env:SLACK"\nmin_severty = "critical" # HERE',
        "receivers[0].min_severty",
        'unknown key; did you mean "min_severity"?',
    ),
    (
        'by = ["service"]',
        'by = ["service"]\nevry = "1h" # HERE',
        "sources[0].evry",
        'unknown key; did you mean "every"?',
    ),
    # wrong types and values
    ('poll = "5m"', "poll = 5 # HERE", "monitor.poll", 'expected a duration such as "90s", "5m", "1h" or "2d"'),
    ('poll = "5m"', 'poll = "0s" # HERE', "monitor.poll", 'expected a duration above zero, such as "5m"'),
    ('poll = "5m"', 'poll = "2d" # HERE', "monitor.poll", 'expected at most a day, such as poll = "5m"'),
    (
        'poll = "5m"',
        'timezone = "Europe/Berln" # HERE',
        "monitor.timezone",
        'no time zone is named "Europe/Berln"; did you mean "Europe/Berlin"?',
    ),
    *(
        (
            'webhook_url = "env:SLACK"',
            f'webhook_url = "env:SLACK"\ndigest = {value} # HERE',
            "receivers[0].digest",
            'expected "daily 09:00" or "weekly mon 09:00"',
        )
        for value in ('"daily"', '"weekly monday 09:00"', '"daily 25:00"', "9", "true")
    ),
    ('poll = "5m"', "state_dir = 1 # HERE", "monitor.state_dir", 'expected a text in quotes, such as state_dir = "…"'),
    ('poll = "5m"', 'receivers = "oncall" # HERE', "monitor.receivers", 'expected a list, such as receivers = ["…"]'),
    ('poll = "5m"', 'database = "mysql" # HERE', "monitor.database", 'expected "sqlite"'),
    ('name = "training"', "name = 5 # HERE", "budgets[0].name", 'expected a text in quotes, such as name = "…"'),
    ('name = "training"', 'name = "" # HERE', "budgets[0].name", "has no name; add name = … here"),
    (
        'name = "training"',
        'name = "a/b" # HERE',
        "budgets[0].name",
        "expected 1 to 64 letters, digits, spaces or . _ - : @ +, beginning and ending without a space",
    ),
    (
        'name = "training"',
        'name = "a\\nb" # HERE',
        "budgets[0].name",
        "expected 1 to 64 letters, digits, spaces or . _ - : @ +, beginning and ending without a space",
    ),
    ('amount = "1000"', "amount = -5 # HERE", "budgets[0].amount", "expected an amount above zero"),
    ('amount = "1000"', 'amount = "0.00" # HERE', "budgets[0].amount", "expected an amount above zero"),
    ('amount = "1000"', "amount = true # HERE", "budgets[0].amount", 'expected an amount, such as amount = "1000"'),
    (
        'amount = "1000"',
        "amount = 1e3 # HERE",
        "budgets[0].amount",
        f"'1E+3' {NOT_PLAIN}",
    ),
    (
        'amount = "1000"',
        "amount = nan # HERE",
        "budgets[0].amount",
        f"'NaN' {NOT_PLAIN}",
    ),
    (
        'amount = "1000"',
        'amount = "1,000" # HERE',
        "budgets[0].amount",
        f"'1,000' {NOT_PLAIN}",
    ),
    (
        'amount = "1000"',
        "amount = 1000000000000000 # HERE",
        "budgets[0].amount",
        "is more than 15 digits long; write the amount in units of its currency",
    ),
    ('amount = "1000"\n', "", "budgets[0].amount", "missing; add amount = … here"),
    (
        BUDGET,
        'currency = "usd" # HERE',
        "budgets[0].currency",
        'expected three capital letters; did you mean "USD"?',
    ),
    (BUDGET, 'currency = "Euro" # HERE', "budgets[0].currency", CURRENCY),
    ('currency = "USD"\nby', 'currency = "€" # HERE\nby', "sources[0].currency", CURRENCY),
    (
        'currency = "USD"\nby',
        'currency = "usd" # HERE\nby',
        "sources[0].currency",
        'expected three capital letters; did you mean "USD"?',
    ),
    (
        'period = "month"',
        'period = "monthly" # HERE',
        "budgets[0].period",
        'expected "day", "week", "month", "quarter", "year" or "run"; did you mean "month"?',
    ),
    (
        'severity = "warning"',
        'severity = "warn"',
        "budgets[0].thresholds[0].severity",
        'expected "warning" or "critical"; did you mean "warning"?',
    ),
    *(
        (
            "[monitor]",
            f"[[{one}]] # HERE\n[monitor]",
            one,
            f"unknown key; [[{one}]] belongs into prices.toml beside the config",
        )
        for one in ("quote", "discount")
    ),
    (
        'period = "month"',
        'period = "fortnight" # HERE',
        "budgets[0].period",
        'expected "day", "week", "month", "quarter", "year" or "run"',
    ),
    (
        BUDGET,
        f'{BUDGET}\nbasis = "grss" # HERE',
        "budgets[0].basis",
        'expected "gross" or "net"; did you mean "gross"?',
    ),
    (BUDGET, f'{BUDGET}\neach = "service" # HERE', "budgets[0].each", 'expected "account"'),
    (BUDGET, f'{BUDGET}\nscope = "aws" # HERE', "budgets[0].scope", "expected a table, such as scope = { … }"),
    (
        BUDGET,
        f"{BUDGET}\nscope.service = [] # HERE",
        "budgets[0].scope.service",
        "expected at least one name; leave the key out to count everything",
    ),
    (
        BUDGET,
        f'{BUDGET}\nrepeat = "often" # HERE',
        "budgets[0].repeat",
        'expected { critical = "4h", warning = "24h" }, or "never"',
    ),
    (
        BUDGET,
        f"{BUDGET}\nrepeat.critical = 4 # HERE",
        "budgets[0].repeat.critical",
        'expected a duration such as "90s", "5m", "1h" or "2d", or "never"',
    ),
    (
        'severity = "warning" },',
        'severity = "loud" }, # HERE',
        "budgets[0].thresholds[0].severity",
        'expected "warning" or "critical"',
    ),
    (
        'on = "actual", at = "80%", severity',
        'on = "actul", at = "80%", severity',
        "budgets[0].thresholds[0].on",
        'expected "actual", "forecast", "burn_rate", "plan" or "at_completion"; did you mean "actual"?',
    ),
    (
        'at = "80%"',
        "at = 0.8",
        "budgets[0].thresholds[0].at",
        'expected a percentage of the budget such as "80%", or an amount such as "800 USD"',
    ),
    (
        'at = "80%"',
        'at = "800"',
        "budgets[0].thresholds[0].at",
        'expected a percentage of the budget such as "80%", or an amount such as "800 USD"',
    ),
    (
        'at = "80%"',
        'at = "800 EUR"',
        "budgets[0].thresholds[0].at",
        'is in EUR, but the budget is in USD; write at = "800 USD"',
    ),
    ('at = "80%"', 'at = "8000%"', "budgets[0].thresholds[0].at", "expected more than 0% and at most 1000%, not 8000%"),
    (
        '{ on = "actual", at = "80%", severity = "warning" },',
        '"80%", # HERE',
        "budgets[0].thresholds[0]",
        'expected a table such as { on = "actual", at = "80%", severity = "warning" }',
    ),
    (
        "[[sources]]",
        "[sources] # HERE",
        "sources",
        "expected an array of tables; write [[sources]] in double brackets above each",
    ),
    (
        'type = "slack"\n',
        "",
        "receivers[0].type",
        'missing; add type = "email", "pagerduty", "slack", "sns" or "webhook" here',
    ),
    (
        'type = "slack"',
        "type = 1 # HERE",
        "receivers[0].type",
        'expected "email", "pagerduty", "slack", "sns" or "webhook"',
    ),
    (
        'type = "slack"',
        'type = "slak" # HERE',
        "receivers[0].type",
        'no receiver type is named "slak"; did you mean "slack"?',
    ),
    (
        'type = "aws_cloudwatch"',
        'type = "aws_cloudwach" # HERE',
        "sources[0].type",
        'no source type is named "aws_cloudwach"; did you mean "aws_cloudwatch"?',
    ),
    # how the parts fit together
    (
        'by = ["service"]',
        'by = ["service"]\nlate_after = "5d" # HERE',
        "sources[0].late_after",
        "is longer than stale_after; data is late first and stale afterwards",
    ),
    (
        "[[budgets]]",
        '[[receivers]]\nname = "oncall" # HERE\ntype = "slack"\nwebhook_url = "env:B"\n[[budgets]]',
        "receivers[2].name",
        '"oncall" is already the name of the one on line 11; each needs its own',
    ),
    (
        'poll = "5m"',
        'receivers = ["oncal"] # HERE',
        "monitor.receivers[0]",
        'no receiver is named "oncal"; did you mean "oncall"?',
    ),
    (
        'receivers = ["oncall", "topic"]',
        'receivers = [\n  "oncall",\n  "tpic", # HERE\n]',
        "budgets[0].receivers[1]",
        'no receiver is named "tpic"; did you mean "topic"?',
    ),
    (
        'receivers = ["oncall", "topic"]',
        'receivers = ["oncall", "oncall"] # HERE',
        "budgets[0].receivers[1]",
        '"oncall" is named twice; keep one',
    ),
    (
        '"100%", severity = "critical" }',
        '"100%", severity = "critical", receivers = ["x"] } # HERE',
        "budgets[0].thresholds[1].receivers[0]",
        'no receiver is named "x"; the receivers here are oncall, topic',
    ),
    (
        'receivers = ["oncall", "topic"]',
        "receivers = [] # HERE",
        "budgets[0].receivers",
        "no receiver would hear of this budget; name one whose min_severity lets its thresholds through",
    ),
    (
        BUDGET,
        'currency = "EUR" # HERE',
        "budgets[0].currency",
        'is "EUR", but what it covers is billed otherwise (aws in USD); write currency = "USD"',
    ),
    (
        BUDGET,
        f'{BUDGET}\nscope.source = "awss" # HERE',
        "budgets[0].scope.source",
        'no source is named "awss"; did you mean "aws"?',
    ),
    (
        BUDGET,
        f'{BUDGET}\nscope.account = "1" # HERE',
        "budgets[0].scope.account",
        'the source "aws" is not read by account; set by = ["service", "account"] in it (line 8)',
    ),
    (
        BUDGET,
        f'{BUDGET}\neach = "account" # HERE',
        "budgets[0].each",
        'the source "aws" is not read by account; set by = ["service", "account"] in it (line 8)',
    ),
    (
        '{ on = "actual", at = "100%"',
        (
            '{ at = "800.0 USD", severity = "warning" },\n{ at = "800 USD", severity = "warning" }, # HERE\n'
            '  { on = "actual", at = "100%"'
        ),
        "budgets[0].thresholds[2]",
        "says the same as the threshold on line 28; keep one",
    ),
    (
        'at = "80%", severity = "warning" },',
        'at = "120%", severity = "warning" }, # HERE',
        "budgets[0].thresholds[0].at",
        "the order is reversed: this warning at 120% comes after critical at 100%; put it below",
    ),
    (
        'at = "80%", severity = "warning" },',
        'at = "1000.01 USD", severity = "warning" }, # HERE',
        "budgets[0].thresholds[0].at",
        "the order is reversed: this warning at 1000.01 USD comes after critical at 100%; put it below",
    ),
]


@pytest.mark.parametrize(("old", "new", "path", "sentence"), CASES)
def test_one_problem_with_its_line_path_and_sentence(tmp_path, old, new, path, sentence):
    assert GOOD.count(old) >= 1
    text = GOOD.replace(old, new, 1) if old != BUDGET else GOOD.replace(old, new)
    ((line, where, message),) = problems(tmp_path, text)
    assert (where, message) == (path, sentence)
    assert line == (marked(text) if "HERE" in text else _line_of_the_edit(text, new, path))


def _line_of_the_edit(text: str, new: str, path: str) -> int:
    """Without a mark: the line of the edit, or (for a key left out) of its table's header."""
    if new:
        return next(number for number, line in enumerate(text.splitlines(), 1) if new in line)
    return text.splitlines().index(f"[[{path.partition('[')[0]}]]") + 1


NOT_YET = [
    ("[monitor]", '[[inventory]] # HERE\nname = "x"\n[monitor]', "inventory"),
    ('poll = "5m"', 'database = "postgresql://db/x" # HERE', "monitor.database"),
    (BUDGET, f'{BUDGET}\ncost = "effective" # HERE', "budgets[0].cost"),
]


@pytest.mark.parametrize(("old", "new", "path"), NOT_YET)
def test_what_is_not_built_yet_is_refused_by_name(tmp_path, old, new, path):
    text = GOOD.replace(old, new, 1) if old != BUDGET else GOOD.replace(old, new)
    ((line, where, message),) = problems(tmp_path, text)
    assert (line, where) == (marked(text), path)
    assert "not in this version" in message


NEEDS_NAME = (
    'a run needs to be named: by a plan (budget = "training" in a [[plans]] table), or here by '
    'scope = { run = "…" }, the value of the run tag'
)
PLAN = """
[[plans]]
name = "ft"
budget = "training"
start = 2026-12-01
phases = [{ name = "a", gpu = "H100", gpu_hours = 100, gpus = 8, price_per_gpu_hour = "2", currency = "USD" }]
"""
ON_PLAN = '{ on = "plan", at = "120%", severity = "warning" },'
ENDLESS = 'a run has no end that a {} could be made for; use on = "at_completion" or on = "plan", with a plan'
RUN = 'currency = "USD"\nperiod = "run"'
FIRST = '{ on = "actual", at = "80%", severity = "warning" },'

RUNS = [
    ("", [(BUDGET, f"{RUN} # HERE")], "budgets[0].period", NEEDS_NAME),
    *(
        (
            "",
            [(FIRST, f'{{ on = "{on}", at = "100%", severity = "warning" }}, # HERE')],
            "budgets[0].thresholds[0].on",
            f'on = "{on}" needs a plan: add budget = "training" to a [[plans]] table',
        )
        for on in ("plan", "at_completion")
    ),
    (
        '[[sources]]\nname = "runs"\ntype = "aws_cost_explorer"\nrun_tag = "run"\n',
        [(BUDGET, f'{RUN}\nscope.run = "x"'), (FIRST, f"{ON_PLAN} # HERE")],
        "budgets[0].thresholds[0].on",
        'on = "plan" needs a plan: add budget = "training" to a [[plans]] table',
    ),
    (
        PLAN,
        [(BUDGET, RUN), (FIRST, '{ on = "forecast", at = "100%", severity = "warning" }, # HERE')],
        "budgets[0].thresholds[0].on",
        ENDLESS.format("forecast"),
    ),
    (
        PLAN,
        [(BUDGET, RUN), (FIRST, '{ on = "burn_rate", at = 2, over = ["6h"], severity = "warning" }, # HERE')],
        "budgets[0].thresholds[0].on",
        ENDLESS.format("burn rate"),
    ),
    (
        PLAN,
        [(FIRST, '{ on = "plan", at = "9 EUR", severity = "warning" }, # HERE')],
        "budgets[0].thresholds[0].at",
        'is in EUR, but the budget is in USD; write at = "9 USD"',
    ),
    (
        PLAN,
        [(FIRST, f"{ON_PLAN.replace('warning', 'critical')} {ON_PLAN.replace('120', '130')} # HERE")],
        "budgets[0].thresholds[1].at",
        "the order is reversed: this warning at 130% comes after critical at 120%; put it below",
    ),
    (
        PLAN,
        [(BUDGET, f"{RUN}\nstart = 2026-12-01\nend = 2026-12-15"), ('period = "run"', 'period = "run" # HERE')],
        "budgets[0].period",
        "a budget from start to end has no period beside them; remove one or the other",
    ),
]


@pytest.mark.parametrize(("plan", "changes", "path", "sentence"), RUNS)
def test_runs_and_plans_that_do_not_fit_together(tmp_path, plan, changes, path, sentence):
    text = GOOD + plan
    for old, new in changes:
        text = text.replace(old, new)
    assert problems(tmp_path, text) == [(marked(text), path, sentence)]


def test_a_plan_that_cannot_be_read_is_the_only_problem_of_its_budget(tmp_path):
    text = (GOOD + PLAN).replace(BUDGET, RUN).replace(FIRST, ON_PLAN).replace("gpu_hours = 100", "gpu_hours = 0")
    ((_, path, _),) = problems(tmp_path, text)
    assert path == "plans[0].phases[0].gpu_hours"


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ('{ on = "plan", at = "100%", severity = "warning" },', ["budgets[0].thresholds[0].at"]),
        ('{ on = "plan", at = "101%", severity = "warning" },', []),
        # So much money above the plan has no order with so many per cent of it.
        (f'{ON_PLAN} {{ on = "plan", at = "9 USD", severity = "critical" }},', []),
        ('{ on = "at_completion", at = "80%", severity = "warning" },', []),
    ],
)
def test_a_limit_that_spend_as_planned_reaches_is_a_warning(tmp_path, listed, said):
    text = (GOOD + PLAN).replace(BUDGET, RUN).replace(FIRST, listed)
    assert [path for _, path, _ in warnings(tmp_path, text)] == said


HOOK = """type = "webhook"
url = "env:HOOK"
headers = { Authorization = "Bearer canary", X-Id = "env:ID" } # HERE"""


def test_a_header_that_stands_in_the_config_is_a_secret_in_it(tmp_path):
    text = GOOD.replace('type = "slack"\nwebhook_url = "env:SLACK"', HOOK)
    ((line, path, message),) = warnings(tmp_path, text)
    assert (line, path) == (marked(text), "receivers[0].headers.Authorization")
    assert message.startswith("a secret stands in the config itself")
    (tmp_path / "config.toml").chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "config.toml")
    assert "every user of this machine can read it" in str(caught.value)
    assert "canary" not in str(caught.value) + message


def test_what_may_be_a_secret_is_not_quoted_back(tmp_path):
    for secret in ("https://hooks.slack.com/services/T0/canary", "x" * 33 + "canary"):
        edits = ((BUDGET, f'{BUDGET}\n"{secret}" = 1'), ('type = "slack"', f'type = "{secret}"'))
        for old, new in edits:
            found = problems(tmp_path, GOOD.replace(old, new, 1))
            assert "canary" not in str(found)
            assert "…" in str(found)


def test_every_problem_is_told_at_once_in_the_order_of_the_file(tmp_path):
    text = (
        GOOD.replace('poll = "5m"', "pol = 1")
        .replace('type = "slack"', 'type = "slak"')
        .replace('amount = "1000"', "amount = -1")
        .replace('receivers = ["oncall", "topic"]', 'receivers = ["oncall", "nobody"]')
        .replace('at = "80%"', 'at = "8%%"')
    )
    assert [path for _, path, _ in problems(tmp_path, text)] == [
        "monitor.pol",
        "receivers[0].type",
        "budgets[0].amount",
        "budgets[0].receivers[1]",
        "budgets[0].thresholds[0].at",
    ]


def test_a_part_with_an_error_is_still_known_by_its_name(tmp_path):
    text = GOOD.replace('type = "aws_cloudwatch"', 'type = "aws_cloudwach"') + 'scope = { source = "aws" }\n'
    assert [path for _, path, _ in problems(tmp_path, text)] == ["sources[0].type"]


def test_no_source_at_all_is_an_error(tmp_path):
    assert problems(tmp_path, "") == [
        (None, "sources", "there is no [[sources]] table, so nothing would be read; add one")
    ]


def test_no_message_holds_a_value_that_could_be_a_secret(tmp_path):
    canary = "https://hooks.example.com/CANARY"
    text = GOOD.replace('webhook_url = "env:SLACK"', f'webhook = "{canary}"\nmin_severity = "{canary}"').replace(
        "arn:aws:sns:us-east-1:123456789012:MyTopic", canary
    )
    assert "CANARY" not in repr(problems(tmp_path, text))


def test_a_secret_in_the_config_itself_is_a_warning(tmp_path):
    text = GOOD.replace("env:SLACK", "https://hooks.slack.com/services/T0/B0/CANARY")
    ((line, path, message),) = warnings(tmp_path, text)
    assert (line, path) == (13, "receivers[0].webhook_url")
    assert "CANARY" not in message


def test_and_an_error_when_every_user_can_read_it(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(GOOD.replace("env:SLACK", "https://hooks.slack.com/services/T0/B0/CANARY"))
    path.chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert f"chmod o-r {path}" in str(caught.value)
    assert "CANARY" not in str(caught.value)


MIN_SEVERITY = ('webhook_url = "env:SLACK"', 'webhook_url = "env:SLACK"\nmin_severity = "critical"')


def test_a_threshold_that_nobody_hears_is_a_warning(tmp_path):
    text = GOOD.replace(*MIN_SEVERITY).replace('["oncall", "topic"]', '["oncall"]')
    assert warnings(tmp_path, text) == [
        (
            28,
            "budgets[0].thresholds[0]",
            "no receiver hears this warning: none is named, or their min_severity is above it",
        )
    ]


def test_a_budget_that_nobody_hears_is_an_error(tmp_path):
    text = (
        GOOD.replace(*MIN_SEVERITY)
        .replace('["oncall", "topic"]', '["oncall"]')
        .replace('  { on = "actual", at = "100%", severity = "critical" },\n', "")
    )
    assert [path for _, path, _ in problems(tmp_path, text)] == ["budgets[0].receivers"]


def test_a_receiver_that_nothing_is_sent_to_is_a_warning(tmp_path):
    text = GOOD.replace('poll = "5m"', 'receivers = ["oncall"]').replace('["oncall", "topic"]', '["oncall"]')
    assert warnings(tmp_path, text) == [
        (16, "receivers[1].name", 'nothing is ever sent to "topic": no budget names it, nor does [monitor]')
    ]
    assert warnings(tmp_path, text.replace('type = "sns"', 'type = "sns"\ndigest = "weekly mon 09:00"')) == []


SECOND_SOURCE = """
[[sources]]
name = "aws-again" # HERE
type = "aws_cloudwatch"
every = "6h"
"""


def test_two_sources_over_one_account_are_warned_of(tmp_path):
    text = GOOD + SECOND_SOURCE
    ((line, path, message),) = warnings(tmp_path, text)
    assert (line, path) == (marked(text), "sources[1].name")
    assert message.startswith('reads the same bill as "aws" on line 5: they are reconciled and never added')
    assert warnings(tmp_path, text + 'role_arn = "arn:aws:iam::2:role/reader"\n') == []


EXPLORER = """
[[sources]]
name = "explorer"
type = "aws_cost_explorer"
"""


def test_of_two_views_of_one_bill_one_needs_to_tell_accounts_apart(tmp_path):
    scoped = 'currency = "USD"\nscope = { account = ["123456789012"] }'
    text = GOOD.replace('currency = "USD"\nperiod', f"{scoped}\nperiod")
    assert [path for _, path, _ in problems(tmp_path, text)] == ["budgets[0].scope.account"]
    assert [path for _, path, _ in warnings(tmp_path, text + EXPLORER)] == ["sources[1].name"]
    elsewhere = EXPLORER + 'role_arn = "arn:aws:iam::2:role/reader"\n'
    assert [path for _, path, _ in problems(tmp_path, text + elsewhere)] == ["budgets[0].scope.account"]


def test_a_budget_of_a_run_that_no_source_can_tell_is_warned_of(tmp_path):
    text = GOOD.replace('currency = "USD"\nperiod', 'currency = "USD"\nscope = { run = "llama" }\nperiod')
    ((_, path, message),) = warnings(tmp_path, text)
    assert path == "budgets[0].scope.run"
    assert message.startswith("nothing that this covers tells runs apart; set run_tag = … in a source that can")
    assert "budgets[0].scope.run" in [path for _, path, _ in warnings(tmp_path, text + EXPLORER)]
    assert [path for _, path, _ in warnings(tmp_path, text + EXPLORER + 'run_tag = "job"\n')] == ["sources[1].name"]


@pytest.mark.parametrize("table", ["receivers", "budgets"])
def test_trying_things_out_without_receivers_or_budgets_is_only_warned_of(tmp_path, table):
    sources = '[[sources]]\nname = "aws"\ntype = "aws_cloudwatch"\n'
    budget = '[[budgets]]\nname = "all"\namount = 1\ncurrency = "USD"\n'
    receiver = '[[receivers]]\nname = "oncall"\ntype = "slack"\nwebhook_url = "env:SLACK"\n'
    text = sources + (budget if table == "receivers" else receiver)
    assert [path for _, path, _ in warnings(tmp_path, text)] == [table]


def test_managing_twins_needs_some(tmp_path):
    text = GOOD.replace(BUDGET, f"{BUDGET}\nmanage = true # HERE")
    ((line, path, message),) = problems(tmp_path, text)
    assert (line, path) == (marked(text), "budgets[0].manage")
    assert message == "repairs twins, and this budget has none; add native = true"


def test_twins_need_a_cloud_that_can_hold_them(tmp_path, monkeypatch):
    text = GOOD.replace(BUDGET, f"{BUDGET}\nnative = true # HERE")
    monkeypatch.setattr("alarms.registry.natives", lambda: ("other",))
    ((line, path, message),) = problems(tmp_path, text)
    assert (line, path) == (marked(text), "budgets[0].native")
    assert message == 'none of its sources is in a cloud that can hold its twins ("other")'


AZURE = """[[sources]]
name = "{name}"
type = "azure_cost"
scope = {scope}
"""


def test_two_sources_do_not_take_each_others_twins_for_left_over(tmp_path):
    one, two = (f"/subscriptions/00000000-0000-0000-0000-00000000000{number}" for number in (1, 2))
    budget = '[[budgets]]\nname = "all"\namount = 1\ncurrency = "USD"\nnative = true\n'
    first = AZURE.format(name="a", scope=f'"{one}"')
    text = first + AZURE.format(name="b", scope=f'["{one.upper()}", "{two}"] # HERE') + budget
    ((line, path, message),) = problems(tmp_path, text)
    assert (line, path) == (marked(text), "sources[1].scope")
    assert message == f"source a reads {one.strip('/')} as well, and native budgets need one source for it"
    for scope in (f'"{two}"', f'"{one}/"'):
        warnings(tmp_path, first + AZURE.format(name="b", scope=scope) + budget)
    warnings(tmp_path, text.replace("native = true", ""))


def test_two_sources_of_one_account_say_the_same_about_twins(tmp_path):
    account, topic = "0123AB-4567CD-89EF01", 'native_topic = "projects/p-1/topics/t-1"'
    live = f"""
[[sources]] # HERE
name = "live"
type = "gcp_budget_messages"
subscription = "projects/p-1/subscriptions/s-1"
billing_account = "{account}"
"""
    text = f"""
[[sources]]
name = "gcp"
type = "gcp_billing_export"
table = "proj.billing.gcp_billing_export_v1_{account.replace("-", "_")}"
{topic}
{live}
[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:SLACK"
[[budgets]]
name = "all"
amount = 1
currency = "USD"
native = true
"""
    ((line, path, message),) = problems(tmp_path, text)
    assert (line, path) == (marked(text), "sources[1].native_topic")
    assert (
        message == 'shares its twins with source "gcp", which reads the same account: give both the same native_topic'
    )
    assert [path for _, path, _ in warnings(tmp_path, text.replace(live, f"{live}{topic}"))] == ["sources[1].name"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ('native_every = "1m"', "between 5 minutes and a day"),
        ('native_every = "2d"', "between 5 minutes and a day"),
        ('native_prefix = "a/b"', "letters, digits"),
        ('native_prefix = ""', "letters, digits"),
        ('drill_every = "0d"', "duration"),
    ],
)
def test_keys_about_twins(tmp_path, key, words):
    text = GOOD.replace('poll = "5m"', f"{key} # HERE")
    ((line, path, message),) = problems(tmp_path, text)
    assert (line, path) == (marked(text), f"monitor.{key.split()[0]}")
    assert words in message


PLANNED = """[[plans]]
name = "p"
budget = "training"
start = 2026-12-01
phases = [{ name = "a", gpu = "H800", gpu_hours = 10, price_per_gpu_hour = "2", currency = "USD" }]
"""


@pytest.mark.parametrize(
    ("table", "more"), [("sources", 'scope = { source = "aws" }'), ("receivers", ""), ("budgets", PLANNED)]
)
def test_one_pair_of_brackets_too_few_is_one_problem(tmp_path, table, more):
    """No name in a table that could not be read is called unknown because of that."""
    text = (GOOD + more).replace(TOPIC, "").replace('["oncall", "topic"]', '["oncall"]')
    text = text.replace(f"[[{table}]]", f"[{table}] # HERE")
    assert problems(tmp_path, text) == [
        (marked(text), table, f"expected an array of tables; write [[{table}]] in double brackets above each")
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('by = ["service"]', 'by = ["service" # HERE'),
        ('by = ["service"]', "by = [ # HERE\n  # nothing yet"),
        ('  { on = "actual", at = "100%", severity = "critical" },\n]\n', ""),
        ('receivers = ["oncall", "topic"]', 'receivers = ["on[call", # HERE\n  "topic",'),
    ],
)
def test_a_list_that_is_not_closed_is_told_where_it_begins(tmp_path, old, new):
    assert old in GOOD
    text = GOOD.replace(old, new)
    if "HERE" not in text:
        text = text.replace("thresholds = [", "thresholds = [ # HERE")
    assert problems(tmp_path, text) == [
        (marked(text), "", "the list that begins here is not closed; add the ] where it ends")
    ]


@pytest.mark.parametrize("wrong", ['by = ["service", account] # HERE', "by = [5m] # HERE", "by = service # HERE"])
def test_a_list_that_is_closed_is_not_said_to_be_open(tmp_path, wrong):
    text = GOOD.replace('by = ["service"]', wrong)
    ((line, _, message),) = problems(tmp_path, text)
    assert (line, message.startswith("not valid TOML: ")) == (marked(text), True)


NO_KEY = (
    "is not an integration key: expected the 32 letters and digits of an integration of the type Events API v2 "
    "(a key of the REST API will not do)"
)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("SLACK_WEBHOOK", '; did you mean "env:SLACK_WEBHOOK"?'),
        ("$SLACK_WEBHOOK", '; did you mean "env:SLACK_WEBHOOK"?'),
        ("${SLACK}", '; did you mean "env:SLACK"?'),
        ("T0CANARY/B0CANARY/canary", ""),
        ("CANARY", ""),
        ("CANARY_0123", ""),
    ],
)
@pytest.mark.parametrize(
    ("type_", "key", "said"),
    [
        ("slack", "webhook_url", "not a URL with a host, such as https://example.com/path"),
        ("webhook", "url", "not a URL with a host, such as https://example.com/path"),
        ("pagerduty", "routing_key", NO_KEY),
    ],
)
def test_a_secret_that_can_be_none_is_told_at_its_key(tmp_path, type_, key, said, value, hint):
    text = GOOD.replace('type = "slack"\nwebhook_url = "env:SLACK"', f'type = "{type_}"\n{key} = "{value}" # HERE')
    found = problems(tmp_path, text)
    assert found == [(marked(text), f"receivers[0].{key}", f"{said}{hint}")]
    assert "canary" not in str(found).lower()


def test_two_of_one_name_are_named_once(tmp_path):
    text = GOOD.replace('name = "topic"', 'name = "oncall"').replace('["oncall", "topic"]', '["x"]')
    messages = [message for _, _, message in problems(tmp_path, text)]
    assert 'no receiver is named "x"; the receivers here are oncall' in messages
