"""Which address a request comes from, with a proxy before us and without."""

from typing import Any

import pytest
from django.test import RequestFactory

from accounts.client_ip import client_ip


@pytest.mark.parametrize(
    ("behind_proxy", "remote", "forwarded", "expected"),
    [
        (False, "192.0.2.1", None, "192.0.2.1"),
        (False, "192.0.2.1", "203.0.113.9", "192.0.2.1"),
        (False, "2001:db8::1", None, "2001:db8::1"),
        (False, "fe80::1%eth0", None, "fe80::1"),
        (False, "", None, "127.0.0.1"),
        (True, "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        (True, "10.0.0.1", "198.51.100.66, 203.0.113.9", "203.0.113.9"),
        (True, "10.0.0.1", "'; DROP TABLE x", "10.0.0.1"),
        (True, "10.0.0.1", None, "10.0.0.1"),
    ],
)
def test_only_our_proxys_word_is_believed(
    settings: Any, behind_proxy: bool, remote: str, forwarded: str | None, expected: str
) -> None:
    settings.BEHIND_PROXY = behind_proxy
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR=remote)
    assert client_ip(request) == expected
