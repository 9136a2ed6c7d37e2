"""A misspelt scope is said, with what is there."""

from __future__ import annotations

from monitor.model import UNATTRIBUTED, Scope, Series
from monitor.never_seen import NeverSeen

AWS = [
    Series("aws", "USD", account="1", service="AmazonEC2"),
    Series("aws", "USD", account="1", service=UNATTRIBUTED),
    Series("aws", "USD", account="2", service="AmazonS3"),
]
SEEN = NeverSeen([*AWS, Series("gcp", "USD", account="p", service="Compute Engine", run="llama")])


def said(scope: Scope, *sources: str) -> list[str]:
    return list(SEEN.of(scope, sources))


def test_a_name_that_was_seen_is_no_news() -> None:
    assert said(Scope(service=("AmazonEC2", "Compute Engine"), account=("1",), run=("llama",)), "aws", "gcp") == []


def test_a_name_that_was_not_is_said_with_the_nearest_of_the_same_sources() -> None:
    assert said(Scope(service=("AmazonEC3", "AmazonS3")), "aws") == [
        'no charge of service "AmazonEC3" was ever seen; did you mean "AmazonEC2"?'
    ]
    assert said(Scope(service=("Compute Engine",)), "aws") == [
        'no charge of service "Compute Engine" was ever seen; the services here are AmazonEC2, AmazonS3'
    ]
    assert said(Scope(run=("llama",)), "aws") == ['no charge of run "llama" was ever seen; there are no runs here']


def test_before_the_first_charge_it_is_not_the_scope() -> None:
    assert said(Scope(service=("AmazonEC3",)), "azure") == []
    assert list(NeverSeen(()).of(Scope(service=("x",)), ["aws"])) == []


def test_beside_a_name_that_was_seen_the_other_is_said_with_the_nearest_alone() -> None:
    both = Scope(service=("AmazonEC2", "AmazonEC3", "Elastic Compute Cloud"))
    assert list(SEEN.of(both, ["aws"], listed=False)) == [
        'no charge of service "AmazonEC3" was ever seen; did you mean "AmazonEC2"?',
        'no charge of service "Elastic Compute Cloud" was ever seen',
    ]
