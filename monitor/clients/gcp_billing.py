"""What the Cloud Billing API knows of a billing account. It has no spend: that is in the export alone."""

from __future__ import annotations

from urllib.parse import urlsplit

from alarms.clients.gcp import Doing, Session, retry, translated
from monitor.errors import AccessError, OutsideError, PermanentError

_CALL_S = 10.0


def account_text(session: Session, account: str, endpoint: str, project: str) -> str:
    """A few words on whether it can be seen and is open. Not being allowed to look is no failure."""
    doing = Doing(
        "the question for the billing account",
        "Cloud Billing",
        "cloudbilling.googleapis.com",
        project,
        f"billing.accounts.get on billing account {account}",
    )
    _, credentials = session.open(doing)
    try:
        with translated(doing):
            from google.cloud.billing_v1 import CloudBillingClient

            client = CloudBillingClient(
                credentials=credentials, transport="rest", client_options={"api_endpoint": _address(endpoint)}
            )
            with client:
                found = client.get_billing_account(
                    name=f"billingAccounts/{account}", retry=retry(_CALL_S), timeout=_CALL_S
                )
    except AccessError:
        return "whether its billing account is open cannot be seen (allow billing.accounts.get; optional)"
    except PermanentError:
        return "its billing account is not known to Cloud Billing"
    except OutsideError:
        return "Cloud Billing did not say whether its billing account is open"
    return "its billing account is open" if found.open_ else "its billing account is closed: nothing more is billed"


def _address(endpoint: str) -> str:
    """As this client wants it: without https://, which it adds, but with http://."""
    split = urlsplit(endpoint)
    return split.netloc if split.scheme == "https" else f"{split.scheme}://{split.netloc}"
