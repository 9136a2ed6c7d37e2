"""Local stand-ins that speak the real protocols on loopback: an AWS account, a Slack endpoint, a mail server."""
