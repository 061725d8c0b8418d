"""No page of the site takes many queries, however much there is to show."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Team, User
from billing.receipts.keys import current_key
from portal.emails import sending
from tests.cast import signed_in
from tests.portal.filled import fill
from tests.portal.keys_pages import load_catalogue
from tests.portal.url_map import PAGES, address

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous"),
]

MOST_QUERIES = 15
PASSWORD = "alices secret"
# Addresses that show other things for other questions.
FURTHER = (
    "/settings/apikeys?show=all",
    "/billing?amount=12.50",
    "/usage?status=error&end_user=filled",
    "/statement?by=transfer",
    "/docs/search?q=stream",
    "/team/audit?action=key.created",
    "/chat/conversations?q=filled",
)


def test_every_page_takes_few_queries(
    password_browser: Client,
    alice: User,
    alices_team: Team,
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_catalogue(monkeypatch)
    alice.is_staff = True  # who may see the design system too
    alice.save()
    filled = fill(alice, alices_team, "filled", "It failed", many=60)
    for _ in range(3):
        signed_in(alice).post("/chat/key", headers={"x-team": alices_team.slug})
    settings.MAIL_DIR, settings.SHOWS_MAILBOX = str(tmp_path), True
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path)
    sending.send("email_code", alice.email, {"code": "123456"})
    email = password_browser.get("/dev/mail").context["emails"][0]
    filled.arguments["email_id"] = email.id

    gets = [name for name, page in PAGES.items() if "GET" in page.methods]
    paths = [address(name, filled.arguments) for name in gets if name != "account_logout"]
    current_key()  # which the service's first receipt creates
    shown, many = 0, []
    for path in (*paths, *FURTHER):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer: Any = password_browser.get(path, headers={"x-team": alices_team.slug})
            if answer.streaming:
                b"".join(answer)
        # The tests' own transaction makes savepoints of what is a transaction in the service.
        count = sum("SAVEPOINT" not in query["sql"] for query in queries)
        shown += answer.status_code == 200
        if count > MOST_QUERIES:
            many.append(f"{path}: {count}")
    assert many == []
    assert shown > 60
