"""What pages cost at a million usage rows of one team: `python -m tests.bench.pages`.

It makes a database of its own beside the bench's, fills it by SQL (consistent enough for the
pages) and asks for pages in this process, so that the figures are the server's time alone. It
prints one JSON object of medians in milliseconds.
"""

import html
import json
import os
import re
import statistics
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from asgiref.sync import async_to_sync

ROWS = int(os.environ.get("BENCH_USAGE_ROWS", "1000000"))
TURNS = 15
DATABASE = "bench_pages"
EMAIL = "pages@example.com"

FILL = """
SET session_replication_role = replica;  -- the guards are for the service, not for its bench
INSERT INTO billing_usagerecord (
    request_id, account_id, key_id, price_version_id, model, surface, endpoint, streamed, upstream,
    upstream_request_id, end_user, input_tokens, cached_tokens, output_tokens, reasoning_tokens,
    images, seconds, pieces, input_nanos, cached_nanos, output_nanos, reasoning_nanos, units_nanos,
    cost_nanos, charged_nanos, written_off_nanos, upstream_cost_nanos, reserved_nanos, source,
    outcome, is_late, status, error, finish_reason, attempts, latency_ms, first_token_ms,
    created_at)
SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       %(account)s, (%(keys)s::bigint[])[1 + n %% 3], 0,
       -- Two models whose newest requests are far apart.
       CASE WHEN n %% 1000 = 7 THEN 'rare' WHEN n %% 25000 = 9 THEN 'odd'
            ELSE 'model-' || n %% 6 END,
       'v1', 'chat_completions', true, 'bench', '',
       CASE WHEN n %% 50 = 0 THEN 'user-' || n %% 700 ELSE '' END,
       1000, 200, 500, 0, 0, 0, 0, 560000, 14000, 1250000, 0, 0,
       1824000, 1824000, 0, 900000, 2000000, 'upstream',
       CASE WHEN n %% 40 = 0 THEN 'upstream_error' WHEN n %% 60 = 1 THEN 'client_closed'
            ELSE 'completed' END,
       false, 200, '', 'stop', '[]', 800 + n %% 700, 200 + n %% 300,
       now() - (%(rows)s - n) * (interval '30 days' / %(rows)s)
FROM generate_series(1, %(rows)s) AS n;
INSERT INTO billing_transfer (
    kind, reference, debit_account_id, credit_account_id, amount_nanos, customer_id, sequence,
    balance_nanos, memo, created_at)
SELECT 'top_up', 'bench', s.id, %(account)s, %(rows)s * 1824000::bigint, %(account)s, 1,
       %(rows)s * 1824000::bigint, '', now() - interval '31 days'
FROM billing_creditaccount s WHERE s.kind = 'stripe_clearing';
INSERT INTO billing_transfer (
    kind, reference, debit_account_id, credit_account_id, amount_nanos, customer_id, sequence,
    balance_nanos, memo, created_at)
SELECT 'usage', request_id::text, %(account)s, r.id, 1824000, %(account)s, 1 + n,
       (%(rows)s - n) * 1824000::bigint, '', u.created_at
FROM (SELECT request_id, created_at, row_number() OVER (ORDER BY created_at) AS n
      FROM billing_usagerecord) AS u
CROSS JOIN billing_creditaccount r WHERE r.kind = 'revenue';
UPDATE billing_creditaccount SET last_sequence = %(rows)s + 1 WHERE id = %(account)s;
RESET session_replication_role;
"""


def main() -> None:
    """Measure and print."""
    address = urlsplit(os.environ["DATABASE_URL"])
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        connection.execute(f"CREATE DATABASE {DATABASE}")
    os.environ["DATABASE_URL"] = urlunsplit(address._replace(path=f"/{DATABASE}"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django  # noqa: PLC0415  whose settings read the new database's address

    django.setup()
    print(json.dumps(measured(filled())))


def filled() -> Any:
    """Fill the database. Return a browser in which a member of the team is signed in."""
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    from api.account_opening import open_customer  # noqa: PLC0415
    from billing.usage import records  # noqa: PLC0415
    from tests.cast import issue, signed_in  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    customer = open_customer("pages@example.com")
    made = [issue(customer.team, customer.user, f"key {number}") for number in range(3)]
    values = {
        "account": customer.account.pk,
        "keys": [issued.key.pk for issued in made],
        "rows": ROWS,
    }
    with connection.cursor() as cursor:
        cursor.execute(FILL, values)
        cursor.execute("VACUUM ANALYZE")
    records.roll_up_recent(2)
    return signed_in(customer.user)


def measured(browser: Any) -> dict[str, float]:
    """Return the pages' medians."""
    pages = {
        "dashboard": "/dashboard",
        "dashboard_live": "/dashboard/live",
        "usage": "/usage",
        "usage_page_100": _hundredth_page(browser),
        "usage_rare_model": "/usage?model=rare",
        "usage_odd_model": "/usage?model=odd",
        "usage_failed": "/usage?status=error",
        "usage_completed": "/usage?status=ok",
        "usage_end_user": "/usage?end_user=user-650",
        "statement": "/statement",
    }
    figures = {
        f"{name}_ms_p50": median_ms(lambda url=url: fetch(browser, url))
        for name, url in pages.items()
    }
    figures["usage_csv_ms_p50"] = median_ms(lambda: _begin_of_csv(browser))
    return figures


def _hundredth_page(browser: Any) -> str:
    """Walk to the hundredth page, as a reader would, and return its address."""
    url = "/usage"
    for _ in range(99):
        page = browser.get(url, HTTP_HOST="localhost").content.decode()
        url = html.unescape(re.search(r'rel="next" href="([^"]+)"', page)[1])
    return url


def fetch(browser: Any, url: str) -> None:
    status = browser.get(url, HTTP_HOST="localhost").status_code
    if status != 200:
        raise RuntimeError(f"{url}: {status}")


def _begin_of_csv(browser: Any) -> None:
    """Ask for all rows as CSV and read on to the first of them, which follows the header."""

    answer = browser.get("/usage.csv", HTTP_HOST="localhost")

    async def begin() -> None:
        parts = aiter(answer.streaming_content)
        await anext(parts)
        await anext(parts)

    async_to_sync(begin)()


def median_ms(work: Callable[[], None]) -> float:
    """Return the median of some turns in milliseconds, after one that nobody counts."""
    work()
    times = []
    for _ in range(TURNS):
        began_at = time.perf_counter()
        work()
        times.append((time.perf_counter() - began_at) * 1000)
    return statistics.median(times)


if __name__ == "__main__":
    main()
