"""`python -m tests.fakes.as_nobody ARGUMENTS...`: the command by a user who owns nothing and may enter nothing closed.

What it imports late is imported before: the interpreter itself may lie where only root can go.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

NOBODY = 65534
ROOT = Path(__file__).parents[2]
# Only the tests of the clouds need those.
_HEAVY = ("gcp", "azure", "simulation", "demo", "pictures", "bigquery", "pubsub", "billing_export", "__main__")


def load_everything() -> None:
    for codec in ("utf_8_sig", "idna", "ascii", "latin_1"):
        import_module(f"encodings.{codec}")
    for package in ("alarms", "monitor"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            if not any(word in name for word in _HEAVY):
                import_module(name)


if __name__ == "__main__":
    load_everything()
    if "alarms" in sys.argv:  # what boto3 loads with its first client and call
        import boto3

        for service in ("cloudwatch", "budgets", "sts", "sns"):
            boto3.client(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    from monitor.cli import main

    sys.exit(main())
