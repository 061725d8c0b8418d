"""Staff change a price and revoke a key while a stream runs (reliability.md, fault 24)."""

from collections.abc import Callable

import pytest

from tests.faults.conftest import ACCOUNTS_OF
from tests.faults.rows import recovery
from tests.stack import Stack, chat
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("changes", "a price changes and a key is revoked under a stream")

LATEST = """
SELECT max(p.id) FROM billing_priceversion p JOIN api_model m USING (product_id)
WHERE m.name = 'glm-5.2'"""
RECORD = f"""
SELECT price_version_id, charged_nanos FROM billing_usagerecord
WHERE account_id IN {ACCOUNTS_OF}"""
NEW_PRICE = """
from django.utils import timezone
from billing.models import PriceVersion
price = PriceVersion.objects.get(pk={})
price.pk, price.effective_from = None, timezone.now()
price.input_nanos_per_million += 1
price.save()
"""


def test_a_running_stream_keeps_its_price_and_a_revoked_key_gets_no_other(
    stack_with: Callable[..., Stack],
) -> None:
    stack = stack_with()
    stack.sql("UPDATE api_upstream SET total_timeout_seconds = 600")
    email = "changes@example.com"
    key, other = stack.customer(email, "5"), stack.customer("changed@example.com", "5")
    ((before,),) = stack.sql(LATEST)
    body = chat(stream=True, simulate="tokens=4000&pace_ms=50", max_tokens=4000)
    with stack.client(key) as client, client.stream("POST", "/chat/completions", json=body) as one:
        lines = one.iter_lines()
        assert next(lines).startswith("data:")
        stack.manage("shell", "-v", "0", "-c", NEW_PRICE.format(before))
        revoke = "UPDATE accounts_apikey SET revoked_at = now() WHERE team_id IN (SELECT team_id"
        stack.sql(f"{revoke} FROM billing_creditaccount WHERE id IN {ACCOUNTS_OF})", email)
        with recovery(), stack.client(key) as second:
            assert second.post("/chat/completions", json=chat()).status_code == 401
        with stack.client(other) as third:
            assert third.post("/chat/completions", json=chat()).status_code == 200
        assert any(line.startswith("data:") for line in lines), "the stream goes on"
    eventually(lambda: stack.sql(RECORD, email), seconds=60)
    ((price, charged),) = stack.sql(RECORD, email)
    assert price == before
    assert charged > 0
    eventually(lambda: stack.sql(RECORD, "changed@example.com"), seconds=60)
    ((price, _),) = stack.sql(RECORD, "changed@example.com")
    assert price > before
