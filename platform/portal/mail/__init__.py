"""Letters: how they are written and sent, and `/dev/mail`, where `make run` shows them."""

from portal.mail.outgoing import send, send_later

__all__ = ["send", "send_later"]
