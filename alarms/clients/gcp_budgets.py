"""Budgets of one billing account: which of them are ours, and how they are made, changed and removed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from alarms.clients import gcp_twins as forms
from alarms.clients.gcp import status_of, translated
from alarms.clients.gcp_calls import Apis, call, items
from alarms.errors import OutsideError, PermanentError, TemporaryError
from alarms.twins import Owned, Twin

_PAGE = 500
_PARTS = ["display_name", "budget_filter", "amount", "threshold_rules", "notifications_rule"]
_GONE, _CONFLICT, _REFUSED = 404, 409, 400


class Budgets:
    """`names`: of the budgets whose twins have been described so far, by the name of the twin: it may be shortened."""

    def __init__(self, apis: Apis, prefix: str, account: str) -> None:
        self.names: dict[str, str] = {}
        # Of each twin that was seen or made: its resource, and the name that makes it ours. Names are not unique, so
        # another budget may come to be called like it.
        self._seen: dict[str, tuple[str, str]] = {}
        self._apis = apis
        self._prefix = prefix
        self._account = account

    def owned(self) -> Owned:
        """Those whose name is one that only we give. What somebody else has called like us is nobody's business."""
        ours = self._ours()
        self._seen = {name: (budget.name, budget.display_name) for name, budget in ours.items()}
        return Owned(tuple(self._twin(name, budget) for name, budget in ours.items()))

    def create(self, twin: Twin) -> None:
        """Make it. Google would make a second one of the same name. Never sent twice: an answer may be lost."""
        if twin.name in self._ours():
            raise PermanentError(f"a budget {twin.name} has come to be there meanwhile: look at the plan again")
        made = self._change("the making of a budget", "create", parent=self._parent, budget=self._message(twin))
        self._seen[twin.name] = (made.name, twin.name)

    def update(self, wanted: Twin) -> None:
        """All of it in one call, unless somebody changes it in between."""
        there = self._still_ours(wanted)
        if there is None:
            raise TemporaryError(f"the budget {wanted.name} is not there any more: look at the plan again")
        message = self._message(wanted)
        message.name, message.etag = there.name, there.etag
        self._change("the change of a budget", "update", budget=message, update_mask={"paths": _PARTS})

    def delete(self, twin: Twin) -> None:
        """Remove it; that it is not there is no error."""
        there = self._still_ours(twin)
        if there is None:
            return
        try:
            self._change("the removal of a budget", "delete", name=there.name)
        except OutsideError as error:
            if _status(error) != _GONE:
                raise

    def there(self, twin: Twin) -> bool:
        """Whether it is, and still ours."""
        return self._still_ours(twin) is not None

    def _still_ours(self, twin: Twin) -> Any:
        """The one that was seen, None if it is gone. Raises OutsideError if somebody has made it theirs meanwhile."""
        resource, shown = self._seen.get(twin.name, ("", ""))
        there = next((budget for budget in self._all() if budget.name == resource), None)
        if there is not None and there.display_name != shown:
            raise TemporaryError(f"the budget {twin.name} is not ours any more: look at the plan again")
        return there

    @property
    def _parent(self) -> str:
        return f"billingAccounts/{self._account}"

    def _ours(self) -> dict[str, Any]:
        """By name. Others of the same name, which only an accident makes, bear their id as well."""
        found: dict[str, Any] = {}
        for budget in sorted(self._all(), key=lambda one: str(one.name)):
            if forms.shown_in(self._prefix, budget.display_name) is None:
                continue
            again = budget.display_name in found
            name = f"{budget.display_name} ({budget.name.rpartition('/')[2]})" if again else budget.display_name
            found[name] = budget
        return found

    def _all(self) -> Iterator[Any]:
        doing = self._doing("the question for budgets", "list")
        asked = {"parent": self._parent, "page_size": _PAGE}
        return items(doing, "budgets", partial(self._apis.budgets.list_budgets, request=asked))

    def _twin(self, name: str, budget: Any) -> Twin:
        with translated(self._doing("the question for budgets", "list")):
            shown = forms.shown_in(self._prefix, budget.display_name) or ""
            return Twin(
                forms.BUDGET, name, self.names.get(budget.display_name, shown), forms.fields_of(type(budget).pb(budget))
            )

    def _message(self, twin: Twin) -> Any:
        from google.cloud.billing.budgets_v1 import Budget

        return Budget.from_json(forms.text_of(twin))

    def _change(self, what: str, operation: str, **arguments: Any) -> Any:
        method = getattr(self._apis.budgets, f"{operation}_budget")
        try:
            return call(self._doing(what, operation), partial(method, **arguments), again=operation != "create")
        except OutsideError as error:
            status = _status(error)
            if status == _CONFLICT:
                raise TemporaryError(
                    f"somebody else has changed this budget: look at the plan again ({error})"
                ) from error
            if status == _REFUSED:
                raise PermanentError(
                    f"{error}: check that the account is billed in this currency, and that the projects, the topic "
                    "(native_topic) and the channels (native_channels) are there"
                ) from error
            raise

    def _doing(self, what: str, operation: str) -> Any:
        needs = f"billing.budgets.{operation} on billing account {self._account}"
        if operation in ("create", "update"):
            needs += ", and pubsub.topics.setIamPolicy on the topic if there is one"
        return self._apis.doing(what, "Cloud Billing budgets", needs)


def _status(error: OutsideError) -> int:
    return status_of(error.__cause__) if error.__cause__ is not None else 0
