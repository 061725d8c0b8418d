"""The emails that a test has sent, by what it looks for in them."""

import re
from typing import Any

from django.core import mail


def last_to(address: str) -> Any:
    """Return the latest email to the address; fails where there is none."""
    found = [email for email in mail.outbox if email.to == [address]]
    assert found, f"no email to {address}"
    return found[-1]


def code_to(address: str) -> str:
    """Return the code in the latest email to the address."""
    found = re.search(r"^(\d{6})$", str(last_to(address).body), re.M)
    assert found, "no code in the email"
    return found[1]


def link_to(address: str, part: str) -> str:
    """Return the path of the link, in the latest email, whose path has `part`."""
    found = re.search(rf"\bhttp://[^/\s]+(\S*{part}\S*)", str(last_to(address).body))
    assert found, f"no link with {part}"
    return found[1]
