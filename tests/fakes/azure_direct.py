"""An Azure without a network: the simulated one behind a client that has the one method that is used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from monitor.simulation.azure import AzureCloud, Reply
from monitor.simulation.azure_usage import to_json
from monitor.sources.azure_cost import AzureCost, Settings


@dataclass
class _Response:
    """What the hook of the SDK's pipeline is handed."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes
    request = SimpleNamespace(url="https://direct.example/")

    def iter_bytes(self) -> Iterator[bytes]:
        yield self.body

    def close(self) -> None:
        """Nothing is open."""


class DirectClient:
    """`client.query.usage(...)`: hundreds of fetches a second. `change` may alter each answer on its way."""

    def __init__(self, cloud: AzureCloud, change: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._cloud = cloud
        self._change = change
        self.query = self

    def usage(
        self,
        scope: str,
        definition: Mapping[str, Any],
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str],
        stream: bool,
        raw_response_hook: Callable[[Any], None],
    ) -> None:
        parameters = "&".join(f"{name}={value}" for name, value in params.items())
        target = f"/{scope}/providers/Microsoft.CostManagement/query?{parameters}"
        sent = {"Authorization": "Bearer simulated-token", **headers}
        reply = self._changed(self._cloud.reply("POST", target, sent, json.dumps(definition).encode()))
        raw_response_hook(SimpleNamespace(http_response=_Response(reply.status, reply.headers, reply.body)))

    def _changed(self, reply: Reply) -> Reply:
        if self._change is None or reply.status != 200:
            return reply
        document = json.loads(reply.body, parse_float=Decimal)
        self._change(document["properties"])
        return Reply(200, to_json(document), reply.headers)


def direct_source(
    cloud: AzureCloud, change: Callable[[dict[str, Any]], None] | None = None, **settings: Any
) -> AzureCost:
    """A source that asks the simulated Azure directly."""
    source = AzureCost(Settings(name="azure", **settings))
    source._client = DirectClient(cloud, change)
    return source
