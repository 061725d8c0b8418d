"""The letters that a test has sent, by what it looks for in them."""

import re
from typing import Any

from django.core import mail


def last_to(address: str) -> Any:
    """Returns the latest letter to the address; fails where there is none."""
    found = [letter for letter in mail.outbox if letter.to == [address]]
    assert found, f"no letter to {address}"
    return found[-1]


def code_to(address: str) -> str:
    """Returns the code in the latest letter to the address."""
    found = re.search(r"^(\d{6})$", str(last_to(address).body), re.M)
    assert found, "no code in the letter"
    return found[1]


def link_to(address: str, part: str) -> str:
    """Returns the path of the link, in the latest letter, whose path has `part`."""
    found = re.search(rf"\bhttp://[^/\s]+(\S*{part}\S*)", str(last_to(address).body))
    assert found, f"no link with {part}"
    return found[1]
