"""For every test of this folder."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.fakes.fault_proxy import Authority


@pytest.fixture(autouse=True)
def _what_boto_leaves_open_is_closed_here() -> Iterator[None]:
    """A client of boto3 keeps its connections until it is collected; that must not be held against a later test."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom the clients of a module trust: what signs the certificates of its proxies."""
    return Authority(tmp_path_factory.mktemp("authority"))
