"""Topics of Pub/Sub on loopback over gRPC, for whoever looks at them: who may publish, and who has subscribed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.pubsub_v1.types import pubsub

BUDGETS_PUBLISHER = "serviceAccount:billing-budget-alert@system.gserviceaccount.com"


class Topics:
    """A context manager: on entry it is served on a free port of 127.0.0.1, with one topic.

    `denied`: permissions that nobody has; `asked`: those that were needed. `publishers`: who may publish.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.denied: set[str] = set()
        self.asked: set[str] = set()
        self.publishers = [BUDGETS_PUBLISHER]
        self.subscriptions = ["projects/bill-proj/subscriptions/pager"]
        self._server = grpc.server(ThreadPoolExecutor(2))
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
        self._server.add_generic_rpc_handlers(
            (
                generic("google.pubsub.v1.Publisher", {"ListTopicSubscriptions": listing}),
                generic("google.iam.v1.IAMPolicy", {"GetIamPolicy": policy}),
            )
        )
        self.port = int(self._server.add_insecure_port("127.0.0.1:0"))

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.stop(0).wait()

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which any client of Pub/Sub talks to this one."""
        return {"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{self.port}"}

    def _need(self, permission: str, name: str, context: grpc.ServicerContext) -> None:
        self.asked.add(permission)
        if permission in self.denied:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "User not authorized to perform this action.")
        if name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name}).")

    def _list(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._need("pubsub.topics.get", request.topic, context)
        return pubsub.ListTopicSubscriptionsResponse(subscriptions=self.subscriptions)

    def _policy(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._need("pubsub.topics.getIamPolicy", request.resource, context)
        binding = policy_pb2.Binding(role="roles/pubsub.publisher", members=self.publishers)
        return policy_pb2.Policy(bindings=[binding])
