"""The receiver of webhooks."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.webhooks.receiver import Receiver


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """A customer's server, on the loopback interface, which a setting allows."""
    settings.WEBHOOKS_ALLOW_LOOPBACK = True
    found = Receiver()
    yield found
    found.close()
