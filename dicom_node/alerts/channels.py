"""Channels for alerts: a webhook and mail."""

import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate

import requests

from dicom_node.config.page_sections import AlertsSection

ANSWER_S = 10.0
"""Seconds within which a server must take a message."""


@dataclass(frozen=True)
class Alert:
    """A change for the better or the worse; names no patient."""

    node: str
    """AE title of the node."""
    subject: str
    """A check, or the deliveries to a peer."""
    ok: bool
    detail: str
    """The value found, and the remedy."""

    @property
    def line(self) -> str:
        """The alert on one line."""
        return (
            f"Hepar {self.node}: {self.subject} {'is right again' if self.ok else 'is not right'}"
        )


class NotSent(Exception):
    """A server did not take an alert."""


Channel = Callable[[Alert], None]
"""Sends an alert; raises `NotSent`."""


def channels(alerts: AlertsSection) -> dict[str, Channel]:
    """Return the configured channels by name."""
    found: dict[str, Channel] = {}
    if alerts.webhook is not None:
        url = alerts.webhook.get_secret_value()
        found["webhook"] = lambda alert: post(alert, url)
    if alerts.mail_to:
        found["mail"] = lambda alert: mail(alert, alerts)
    return found


def post(alert: Alert, url: str) -> None:
    """Send an alert as JSON; `text` is what Slack, Mattermost and Teams show.

    Raises:
        NotSent: the server refused it, or did not answer.
    """
    content: dict[str, str | bool] = {
        "text": f"{alert.line}: {alert.detail}",
        "node": alert.node,
        "subject": alert.subject,
        "ok": alert.ok,
        "detail": alert.detail,
    }
    try:
        answer = requests.post(url, json=content, timeout=ANSWER_S, allow_redirects=False)
    except requests.RequestException as error:
        raise NotSent(type(error).__name__) from None  # its words hold the address, a secret
    # A redirect is not followed: what it leads to would learn the address, which is a secret.
    if 300 <= answer.status_code < 400:
        raise NotSent(
            f"status {answer.status_code}, a redirect; set alerts.webhook to where it leads"
        )
    if not answer.ok:
        raise NotSent(f"status {answer.status_code}")


def mail(alert: Alert, alerts: AlertsSection) -> None:
    """Send an alert as mail.

    Raises:
        NotSent: the server refused it, or did not answer.
    """
    message = EmailMessage()
    message["Subject"], message["Date"] = alert.line, formatdate(localtime=True)
    message["From"], message["To"] = alerts.mail_from, ", ".join(alerts.mail_to)
    message["Auto-Submitted"] = "auto-generated"  # no answers by machines (RFC 3834)
    message.set_content(f"{alert.line}\n\n{alert.detail}\n")
    try:
        with smtplib.SMTP(alerts.smtp_host, alerts.smtp_port, timeout=ANSWER_S) as server:
            if alerts.smtp_tls:
                server.starttls(context=ssl.create_default_context())
            if alerts.smtp_password is not None:
                server.login(alerts.smtp_user, alerts.smtp_password.get_secret_value())
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent(type(error).__name__) from error
