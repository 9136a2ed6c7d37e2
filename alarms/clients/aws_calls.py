"""Calls to the services of AWS that hold twins and topics: each once, with every page, its errors translated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alarms.clients.aws import translated
from alarms.errors import OutsideError, PermanentError, TemporaryError

_MOST_PAGES = 1000


def call(client: Any, operation: str, *, fine: tuple[str, ...] = (), **arguments: Any) -> Any:
    """The answer; None where AWS answers with an error whose code is `fine`. Raises OutsideError."""
    try:
        with translated():
            return getattr(client, operation)(**arguments)
    except OutsideError as error:
        if code_of(error) in fine:
            return None
        raise
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise _damaged(operation) from error


def pages(client: Any, operation: str, result: str, **arguments: Any) -> Iterator[Any]:
    """Every element of the list `result` of all pages; one that is not there is empty."""
    seen: set[str] = set()
    for _ in range(_MOST_PAGES):
        page = call(client, operation, **arguments)
        if not isinstance(page, dict):
            raise _damaged(operation)
        yield from page.get(result) or ()
        following = page.get("NextToken")
        if not following:
            return
        if following in seen:
            break
        seen.add(following)
        arguments["NextToken"] = following
    raise PermanentError(f"AWS answered {operation} with pages without end")


def code_of(error: OutsideError) -> str:
    """The code of the refusal of AWS that an error stands for; "" for any other."""
    answer = getattr(error.__cause__, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


def _damaged(operation: str) -> TemporaryError:
    return TemporaryError(f"what answered {operation} was not AWS, or its answer is damaged")
