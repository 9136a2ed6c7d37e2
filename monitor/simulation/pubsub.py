"""Pub/Sub on loopback over gRPC: one subscription to which budgets are told, as Cloud Billing does."""

from __future__ import annotations

import json
import threading
from datetime import datetime
from typing import Any

import grpc
from google.protobuf import empty_pb2, timestamp_pb2
from google.pubsub_v1.types import pubsub

from monitor.simulation.loopback_grpc import PubSubServer

_SERVICE = "google.pubsub.v1.Subscriber"


class PubSub(PubSubServer):
    """One subscription. `held`: messages by id that were not acknowledged.

    What was pulled is not handed out again until it is given back, or `expire` says that time is up.
    """

    def __init__(self, name: str) -> None:
        self.held: dict[str, Any] = {}
        self.at_once = 1000
        self._out: dict[str, str] = {}
        self._lock = threading.Lock()
        self._count = 0
        super().__init__(name, self._handlers())

    def tell(
        self,
        at: datetime,
        cost: Any,
        since: datetime,
        *,
        budget: str = "b-1",
        name: str = "training",
        account: str = "0123AB-4567CD-89EF01",
        currency: str = "USD",
        **more: Any,
    ) -> None:
        """Publish what Cloud Billing says of a budget; `more` are other keys of the message, None to leave one out."""
        document = {
            "budgetDisplayName": name,
            "costAmount": cost,
            "costIntervalStart": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "budgetAmount": 1000.0,
            "budgetAmountType": "SPECIFIED_AMOUNT",
            "currencyCode": currency,
        } | more
        text = json.dumps({key: value for key, value in document.items() if value is not None})
        attributes = {"billingAccountId": account, "budgetId": budget, "schemaVersion": "1.0"}
        self.publish(at, text.encode(), **attributes)

    def publish(self, at: datetime, data: bytes, **attributes: str) -> None:
        """Publish anything."""
        stamp = timestamp_pb2.Timestamp()
        stamp.FromDatetime(at)
        with self._lock:
            self._count += 1
            message = pubsub.PubsubMessage(
                data=data, attributes=attributes, message_id=str(self._count), publish_time=stamp
            )
            self.held[message.message_id] = message

    def expire(self) -> None:
        """The time to acknowledge is up for all that was pulled."""
        with self._lock:
            self._out.clear()

    def _handlers(self) -> Any:
        methods: dict[str, tuple[Any, Any, Any]] = {
            "GetSubscription": (self._get, pubsub.GetSubscriptionRequest, pubsub.Subscription.serialize),
            "Pull": (self._pull, pubsub.PullRequest, pubsub.PullResponse.serialize),
            "Acknowledge": (self._acknowledge, pubsub.AcknowledgeRequest, _plain),
            "ModifyAckDeadline": (self._modify, pubsub.ModifyAckDeadlineRequest, _plain),
        }
        return grpc.method_handlers_generic_handler(
            _SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    call, request_deserializer=request.deserialize, response_serializer=serialize
                )
                for name, (call, request, serialize) in methods.items()
            },
        )

    def _get(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.need("pubsub.subscriptions.get", request.subscription, context)
        return pubsub.Subscription(name=self.name)

    def _pull(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.need("pubsub.subscriptions.consume", request.subscription, context)
        with self._lock:
            free = [message for key, message in self.held.items() if key not in self._out.values()]
            received = []
            for message in free[: min(request.max_messages, self.at_once)]:
                self._count += 1
                handle = f"h{self._count}"
                self._out[handle] = message.message_id
                received.append(pubsub.ReceivedMessage(ack_id=handle, message=message))
        return pubsub.PullResponse(received_messages=received)

    def _acknowledge(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.need("pubsub.subscriptions.consume", request.subscription, context)
        with self._lock:
            for handle in request.ack_ids:
                self.held.pop(self._out.pop(handle, ""), None)
        return empty_pb2.Empty()

    def _modify(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.need("pubsub.subscriptions.consume", request.subscription, context)
        with self._lock:
            for handle in request.ack_ids:
                self._out.pop(handle, None)
        return empty_pb2.Empty()


def _plain(message: Any) -> bytes:
    return bytes(message.SerializeToString())
