"""What staff's pages cost at ten million requests: `python -m tests.bench.staff_pages`.

It makes a database of its own beside the bench's and fills the roll-ups by SQL as ten million
requests of thirty days would: 2,000 teams, 20 models, 2 upstreams. Of the requests themselves it
has those that are at a loss, one in two hundred. It asks for the pages in this process, so that the
figures are the server's time alone, and prints one JSON object of medians in milliseconds.
"""

import json
import os
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.bench.pages import fetch, median_ms

TEAMS = 2_000
LOSING = 50_000
DATABASE = "bench_staff"

FILL = """
SET session_replication_role = replica;  -- the keys of the sums are nobody's
INSERT INTO billing_marginday (
    day, account_id, model, upstream, requests, errors, input_tokens, output_tokens, charged_nanos,
    upstream_cost_nanos)
SELECT (now() AT TIME ZONE 'UTC')::date - d, a.id, 'model-' || (a.id + m) %% 20,
       'upstream-' || u, 16 + (a.id + d) %% 2, 1, 16000, 8000, 30000000, 18000000 + u * 9000000
FROM generate_series(0, 29) AS d, generate_series(0, 4) AS m, generate_series(0, 1) AS u,
     billing_creditaccount a WHERE a.kind = 'customer';
INSERT INTO billing_teamday (
    day, account_id, requests, errors, input_tokens, output_tokens, charged_nanos,
    upstream_cost_nanos)
SELECT day, account_id, sum(requests), sum(errors), sum(input_tokens), sum(output_tokens),
       sum(charged_nanos), sum(upstream_cost_nanos)
FROM billing_marginday GROUP BY 1, 2;
INSERT INTO billing_servicehour (
    hour, model, upstream, requests, errors, input_tokens, output_tokens, charged_nanos,
    upstream_cost_nanos)
SELECT date_trunc('hour', now()) - h * interval '1 hour', 'model-' || m, 'upstream-' || u,
       347, 20, 347000, 173500, 625000000, 375000000 + u * 187500000
FROM generate_series(0, 719) AS h, generate_series(0, 19) AS m, generate_series(0, 1) AS u;
INSERT INTO billing_usagehour (
    hour, account_id, key_id, model, requests, errors, input_tokens, cached_tokens, output_tokens,
    reasoning_tokens, images, charged_nanos, upstream_cost_nanos, latency_ms_total,
    first_token_ms_total, first_token_count)
SELECT date_trunc('hour', now()) - h * interval '1 hour', a.id, a.id, 'model-' || a.id %% 20,
       7, 1, 7000, 0, 3500, 0, 0, 12500000, 8000000, 7000, 1400, 7
FROM generate_series(0, 719) AS h, billing_creditaccount a WHERE a.kind = 'customer';
INSERT INTO billing_usagerecord (
    request_id, account_id, key_id, price_version_id, model, surface, endpoint, streamed, upstream,
    upstream_request_id, end_user, input_tokens, cached_tokens, output_tokens, reasoning_tokens,
    images, seconds, pieces, input_nanos, cached_nanos, output_nanos, reasoning_nanos, units_nanos,
    cost_nanos, charged_nanos, written_off_nanos, upstream_cost_nanos, reserved_nanos, source,
    outcome, is_late, status, error, finish_reason, attempts, latency_ms, created_at)
SELECT gen_random_uuid(), a.id, a.id, 0, 'model-' || n %% 20, 'v1', 'chat_completions', true,
       'upstream-' || n %% 2, '', '', 1000, 0, 500, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 900000,
       2000000, 'none', 'upstream_error', false, 502, '', '', '[]', 800,
       now() - n * (interval '30 days' / %(losing)s)
FROM generate_series(1, %(losing)s) AS n
JOIN (SELECT id, row_number() OVER () AS place FROM billing_creditaccount WHERE kind = 'customer')
    AS a ON a.place = 1 + n %% %(teams)s;
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
    os.environ["STAFF_SECOND_FACTOR"] = "0"
    import django  # noqa: PLC0415  whose settings read the new database's address

    django.setup()
    print(json.dumps(measured(filled())))


def filled() -> Any:
    """Fill the database. Return a browser in which a superuser is signed in."""
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    from accounts.models import Plan, Team, User  # noqa: PLC0415
    from billing.models import CreditAccount  # noqa: PLC0415
    from tests.cast import signed_in  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    plan = Plan.objects.order_by("pk").first()
    names = [f"team-{number}" for number in range(TEAMS)]
    made = Team.objects.bulk_create([Team(name=name, slug=name, plan=plan) for name in names])
    CreditAccount.objects.bulk_create([CreditAccount(kind="customer", team=team) for team in made])
    with connection.cursor() as cursor:
        cursor.execute(FILL, {"teams": TEAMS, "losing": LOSING})
        cursor.execute("VACUUM ANALYZE")
    return signed_in(User.objects.create_superuser("bench@example.com", "secret"))


def measured(browser: Any) -> dict[str, float]:
    """Return the pages' medians, and how many requests the roll-ups stand for."""
    from django.db.models import Max, Sum  # noqa: PLC0415

    from billing.models import MarginDay  # noqa: PLC0415

    team = MarginDay.objects.aggregate(team=Max("account__team_id"))["team"]
    pages = {
        "overview": "/admin/",
        "overview_by_team": "/admin/?by=team&show=margin",
        "overview_by_plan": "/admin/?by=plan",
        "margins_by_day": "/admin/margins?by=day",
        "margins_by_model": "/admin/margins?by=model",
        "margins_by_upstream": "/admin/margins?by=upstream",
        "margins_by_team": "/admin/margins?by=team",
        "margins_of_a_model_by_team": "/admin/margins?by=team&model=model-7",
        "margins_of_an_upstream_by_team": "/admin/margins?by=team&upstream=upstream-1",
        "margins_of_a_route_by_team": "/admin/margins?by=team&model=model-7&upstream=upstream-1",
        "margins_of_a_team_by_model": f"/admin/margins?by=model&team={team}",
        "losing_requests": "/admin/margins/losses",
        "losing_requests_of_a_team": f"/admin/margins/losses?team={team}",
    }
    figures = {
        f"{name}_ms_p50": round(median_ms(lambda url=url: fetch(browser, url)), 1)
        for name, url in pages.items()
    }
    return {"requests": MarginDay.objects.aggregate(sum=Sum("requests"))["sum"], **figures}


if __name__ == "__main__":
    main()
