"""Topics of Pub/Sub on loopback over gRPC, for whoever looks at them: who may publish, and who has subscribed."""

from __future__ import annotations

from typing import Any

import grpc
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.pubsub_v1.types import pubsub

from monitor.simulation.loopback_grpc import PubSubServer

BUDGETS_PUBLISHER = "serviceAccount:billing-budget-alert@system.gserviceaccount.com"


class Topics(PubSubServer):
    """One topic. `publishers`: who may publish. `next_page`: what every page of subscriptions names as the next one."""

    def __init__(self, name: str) -> None:
        self.publishers = [BUDGETS_PUBLISHER]
        self.subscriptions = ["projects/bill-proj/subscriptions/pager"]
        self.next_page = ""
        unary = grpc.unary_unary_rpc_method_handler
        listing = unary(
            self._list,
            request_deserializer=pubsub.ListTopicSubscriptionsRequest.deserialize,
            response_serializer=pubsub.ListTopicSubscriptionsResponse.serialize,
        )
        policy = unary(
            self._policy,
            request_deserializer=iam_policy_pb2.GetIamPolicyRequest.FromString,
            response_serializer=policy_pb2.Policy.SerializeToString,
        )
        generic = grpc.method_handlers_generic_handler
        super().__init__(
            name,
            generic("google.pubsub.v1.Publisher", {"ListTopicSubscriptions": listing}),
            generic("google.iam.v1.IAMPolicy", {"GetIamPolicy": policy}),
        )

    def _list(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.need("pubsub.topics.get", request.topic, context)
        return pubsub.ListTopicSubscriptionsResponse(subscriptions=self.subscriptions, next_page_token=self.next_page)

    def _policy(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.need("pubsub.topics.getIamPolicy", request.resource, context)
        binding = policy_pb2.Binding(role="roles/pubsub.publisher", members=self.publishers)
        return policy_pb2.Policy(bindings=[binding])
