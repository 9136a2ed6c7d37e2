"""Failures of calls to the outside. The class carries the retry decision.

A message is one sentence for a person and never holds a secret, a webhook's address or a response body. The SDK's own
error is chained as the cause (`raise ... from error`), and is never shown.
"""

from __future__ import annotations

from datetime import timedelta


class OutsideError(Exception):
    """A call to something outside this process failed."""


class TemporaryError(OutsideError):
    """Worth trying again.

    `retry_after`: what the other side asked for, if it did. `uncertain`: the call may have had its effect (the answer
    was lost after the request was sent), so a repeat must be marked as a possible one. `progress`: something was won
    all the same, and the next try goes on from there.
    """

    def __init__(self, message: str, *, retry_after: timedelta | None = None, uncertain: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.uncertain = uncertain
        self.progress = False


class UnreachableError(TemporaryError):
    """Nobody was there or answered in time: the name, the way, or the other side. Nothing was refused."""


class BadDataError(TemporaryError):
    """It answered, but with something that is not a usable number; nothing of the answer is kept."""


class PermanentError(OutsideError):
    """Trying again will not help until a person changes something.

    `whole_receiver`: False when only this one message is refused (too long, say) and the next may well pass.
    """

    def __init__(self, message: str, *, whole_receiver: bool = True) -> None:
        super().__init__(message)
        self.whole_receiver = whole_receiver


class AccessError(PermanentError):
    """Credentials are missing, expired or not allowed to do this."""


class MissingExtraError(PermanentError):
    """A package that this part needs is not installed; the message says which extra brings it."""


class OutboxError(Exception):
    """The outbox cannot be read or written now (disk full, say); what it held is still there."""
