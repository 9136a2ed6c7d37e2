"""The drill inside Google Cloud. A budget cannot be made to send: what can be looked at is the way to its topic.

Nothing is published to the topic: whoever reads it may switch billing off when a budget speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from alarms.clients import gcp_twins as forms
from alarms.clients.gcp import translated
from alarms.clients.gcp_budgets import Budgets
from alarms.clients.gcp_calls import Apis, call, items
from alarms.errors import OutsideError
from alarms.twins import Step, Twin, value_text

# As whom Cloud Billing publishes, and the roles that let it.
PUBLISHER = "serviceAccount:billing-budget-alert@system.gserviceaccount.com"
_ROLES = frozenset(("roles/pubsub.publisher", "roles/pubsub.editor", "roles/pubsub.admin"))


class Drill:
    """Of one billing account."""

    def __init__(self, apis: Apis, budgets: Budgets) -> None:
        self._apis = apis
        self._budgets = budgets

    def of(self, twins: Sequence[Twin]) -> list[Step]:
        """Every step, failed or not."""
        steps = [self._attempt(f"budget {twin.name}", partial(self._look_at, twin)) for twin in twins]
        topics = {value_text(twin.fields["pubsubTopic"]) for twin in twins if twin.fields.get("pubsubTopic")}
        steps += [self._attempt(f"topic {topic}", partial(self._way_through, topic)) for topic in sorted(topics)]
        if twins:
            steps.append(Step("e-mail of Cloud Billing", None, "Google sends it only at a threshold: not tried"))
        return steps

    def _attempt(self, what: str, step: Callable[[], tuple[bool | None, str]]) -> Step:
        try:
            return Step(what, *step())
        except OutsideError as error:
            return Step(what, ok=False, detail=str(error))

    def _look_at(self, twin: Twin) -> tuple[bool, str]:
        if not self._budgets.there(twin):
            return False, "it is not there"
        rules = sum(name.startswith(forms.RULE) for name in twin.fields)
        return True, f"it is there, with {rules} threshold{'s' if rules > 1 else ''}; that it sends cannot be tried"

    def _way_through(self, topic: str) -> tuple[bool | None, str]:
        subscriptions = self._subscriptions(topic)
        if not subscriptions:
            return False, "nobody has subscribed to it"
        doing = self._apis.doing(
            "the question for a topic's policy", "Pub/Sub", f"pubsub.topics.getIamPolicy on {topic}"
        )
        policy = call(doing, partial(self._apis.topics.get_iam_policy, request={"resource": topic}))
        with translated(doing):
            lets = any(one.role in _ROLES and PUBLISHER in one.members for one in policy.bindings)
        heard = f"{len(subscriptions)} subscription{'s' if len(subscriptions) > 1 else ''}"
        if not lets:
            # It may be let by the policy of the project, a folder, the organisation, or by a role of their own.
            return None, f"{heard}; its own policy does not let {PUBLISHER.partition(':')[2]} publish: does another?"
        return True, f"{heard}, and Cloud Billing may publish to it"

    def _subscriptions(self, topic: str) -> list[str]:
        doing = self._apis.doing("the question for subscriptions", "Pub/Sub", f"pubsub.topics.get on {topic}")
        listing = partial(self._apis.topics.list_topic_subscriptions, request={"topic": topic})
        return [str(name) for name in items(doing, "subscriptions", listing)]
