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


def test_the_aws_policy_grants_five_actions_and_nothing_else() -> None:
    policy = json.loads((ROOT / "docs/permissions/aws-reader.json").read_text(encoding="utf-8"))
    actions: list[str] = []
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        actions += [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
    read = ["ce:GetCostAndUsage", "cloudwatch:GetMetricData", "cloudwatch:ListMetrics"]
    assert sorted(actions) == [*read, "sns:Publish", "sts:AssumeRole"]
