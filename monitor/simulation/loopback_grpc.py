"""A part of Google that is spoken to over gRPC, on loopback."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Self

import grpc


class PubSubServer:
    """A context manager: on entry it is served on a free port of 127.0.0.1; it knows the one resource `name`.

    `denied`: permissions that nobody has; `asked`: those that were needed.
    """

    def __init__(self, name: str, *handlers: grpc.GenericRpcHandler) -> None:
        self.name = name
        self.denied: set[str] = set()
        self.asked: set[str] = set()
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers(handlers)
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

    def need(self, permission: str, name: str, context: grpc.ServicerContext) -> None:
        """End the call if nobody has the permission, or there is no such resource."""
        self.asked.add(permission)
        if permission in self.denied:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "User not authorized to perform this action.")
        if name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name}).")
