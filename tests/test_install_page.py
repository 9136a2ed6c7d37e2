"""docs/install.md: every file that it names is there, and the permissions are few."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/install.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_every_file_that_it_names_is_there() -> None:
    named = {ROOT / path for path in re.findall(r"(?<![\w/.])(?:systemd|docs|\.ci|examples|tests)/[\w./-]*\w", TEXT)}
    linked = {PAGE.parent / path for path in re.findall(r"\]\(([\w./-]+)", TEXT)}
    assert named
    assert linked
    assert {str(path) for path in named | linked if not path.exists()} == set()


def test_every_cloud_has_its_lock_in_the_first_step() -> None:
    step = TEXT[TEXT.index("## 1.") : TEXT.index("## 2.")]
    clouds = {path.stem for path in (ROOT / ".ci/locks").iterdir()} - {"demo", "dev", "run"}
    assert set(re.findall(r"\.ci/locks/(\w+)\.txt", step)) == clouds


def test_no_secret_file_lies_where_the_service_cannot_read_it() -> None:
    """It is no user that could own a file: what is secret comes through systemd, from the directory of root's."""
    for page in (TEXT, (ROOT / "docs/permissions/gcp.md").read_text(encoding="utf-8")):
        assert not re.findall(r"CREDENTIALS\w*=/etc/cloud-budget-monitor/(?!credentials\b)", page)


def test_every_file_that_the_page_of_aws_hands_to_aws_is_there_or_made() -> None:
    page = (ROOT / "docs/permissions/aws.md").read_text(encoding="utf-8")
    made = set(re.findall(r"cat > (\S+) <<'END'", page))
    named = set(re.findall(r"file://(\S+)", page))
    assert named == made | {"aws-reader.json"}
    for policy in re.findall(r"<<'END'\n(.*?)^END$", page, re.DOTALL | re.MULTILINE):
        assert json.loads(policy)["Statement"]


def test_the_aws_policy_grants_five_actions_and_nothing_else() -> None:
    policy = json.loads((ROOT / "docs/permissions/aws-reader.json").read_text(encoding="utf-8"))
    actions: list[str] = []
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        actions += [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
    read = ["ce:GetCostAndUsage", "cloudwatch:GetMetricData", "cloudwatch:ListMetrics"]
    assert sorted(actions) == [*read, "sns:Publish", "sts:AssumeRole"]
