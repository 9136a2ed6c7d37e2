"""What TLS says of a server, in whichever SDK's words."""

from __future__ import annotations

# It is not who it should be, or offers nothing but what is broken by now.
_UNTRUSTED = (
    "CERTIFICATE_VERIFY_FAILED",
    "doesn't match",
    "UNSUPPORTED_PROTOCOL",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "WRONG_VERSION_NUMBER",
)


def is_untrusted(said: str) -> bool:
    """Whether an error's text says that the server cannot prove who it is."""
    return any(reason in said for reason in _UNTRUSTED)
