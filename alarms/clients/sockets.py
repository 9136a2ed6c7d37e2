"""Connections that end when their time is up, and that go nowhere they should not.

A socket's own timeout is per read: a server that sends one byte a second never meets it. So a timer shuts the
connection down at the deadline, whoever is reading from it then.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from alarms.clients.deadline import within
from alarms.errors import PermanentError, TemporaryError

# Not places on the internet, whatever a version of Python says of them: `is_global` holds for most of these.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",  # shared address space (CGNAT); 100.100.100.200 is Alibaba's metadata service
        "168.63.129.16/32",  # Azure's host
        "192.0.0.0/24",  # IETF protocols; 192.0.0.192 is Oracle's metadata service
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b::/96",  # NAT64: holds any IPv4 address, 169.254.169.254 too
        "64:ff9b:1::/48",  # NAT64 of one's own network
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
# All that is assigned to the internet of IPv6; outside lie site-local, IPv4-compatible and translated addresses.
_IPV6_INTERNET = ipaddress.ip_network("2000::/3")


class Deadline:
    """The total time of one attempt. Use as a context; `watch` each connection; ask `expired` when a call failed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def remaining(self) -> float:
        """Seconds left, at least a millisecond (a timeout of 0 would mean: do not wait at all)."""
        return max(0.001, self._ends - time.monotonic())

    def watch(self, connection: socket.socket) -> None:
        """Shut this connection down when the time is up; TLS put around it later does not matter."""
        # A duplicate, since wrapping in TLS takes the original's file descriptor away.
        duplicate = connection.dup()
        with self._lock:
            self._watched.append(duplicate)
        if self.expired:
            _shut(duplicate)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._watched:
                connection.close()
            self._watched.clear()

    def _end(self) -> None:
        self.expired = True
        with self._lock:
            for connection in self._watched:
                _shut(connection)


def connect(host: str, port: int, *, deadline: Deadline, allow_private: bool) -> socket.socket:
    """Connect to one of the host's addresses, all of which must be public unless `allow_private`.

    The name is resolved once and the address that was judged is the one connected to. Raises PermanentError for a
    private address, TemporaryError when the host cannot be found or reached in time.
    """
    addresses = resolve(host, port, deadline=deadline, allow_private=allow_private)
    error: OSError | None = None
    for tried, (family, address) in enumerate(addresses):
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(deadline.remaining() / (len(addresses) - tried))  # leave time for those after it
        try:
            connection.connect((address, port))
        except OSError as failed:
            connection.close()
            error = failed
            continue
        connection.settimeout(deadline.remaining())
        deadline.watch(connection)
        return connection
    why = "no answer" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or "no address"
    raise TemporaryError(f"{host} port {port} cannot be reached: {why}") from error


def resolve(host: str, port: int, *, deadline: Deadline, allow_private: bool) -> Sequence[tuple[int, str]]:
    """(family, address) of each, in the system's order, all of them judged. Raises like `connect`."""
    addresses = _looked_up(host, port, deadline)
    if not allow_private and not all(_is_public(address) for _, address in addresses):
        raise _private(host)
    return addresses


def refuse_private_literal(host: str) -> None:
    """Judge an address that stands for itself, in any notation (`127.1`). A name passes: somebody else looks it up."""
    try:
        answers = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return
    if not all(_is_public(str(address[0])) for *_, address in answers):
        raise _private(host)


def _private(host: str) -> PermanentError:
    return PermanentError(
        f"{host} is at a private or local address: set allow_private = true on this receiver if that is meant"
    )


def _looked_up(host: str, port: int, deadline: Deadline) -> Sequence[tuple[int, str]]:
    """Behind a wall, for getaddrinfo knows no timeout."""
    try:
        answers = within(
            deadline.remaining(),
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
            what=f"the look-up of {host}",
        )
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that IDNA refuses
        raise TemporaryError(f"the name {host} was not found: check its spelling and this machine's DNS") from error
    return [(int(family), str(address[0])) for family, _, _, _, address in answers]


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.version == _IPV6_INTERNET.version and address not in _IPV6_INTERNET:
        return False
    listed = any(address.version == network.version and address in network for network in _NOT_PUBLIC)
    return address.is_global and not address.is_multicast and not listed


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster
