"""Names, titles, errors and tags are text wherever they are shown, whatever is in them."""

import csv
import io
import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Team, User
from api.models import Model
from billing.models import UsageRecord
from portal.emails import due, tasks
from portal.emails.kinds import send_invitation
from portal.emails.sending import write
from tests.portal.filled import Filled, fill
from tests.portal.keys_pages import load_catalogue
from tests.portal.parsed_page import ParsedPage, parse
from tests.portal.url_map import PAGES, address

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous"),
]

PASSWORD = "alices secret"
# Ends every place that a name stands in; then an entity, and characters that turn or hide text.
TEXT = (
    "</script></title></select></textarea>--><hostile-x>\"' data-hostile=\"' &lt;b&gt; "
    "\u202e\u200b\u2066\x07\x1b"
)
# Where it must be read as it is. Elsewhere it is cut short, in a field, or not shown.
SHOWING = {
    *("apikeys", "key", "edit_key", "rotate_key", "revoke_key", "usage", "request", "statement"),
    *("team", "member", "team_settings", "audit_log", "profile", "delete_account", "home"),
    *("models", "model", "mfa_list_webauthn", "chat", "playground", "error", "each transfer"),
    *("billing", "failed order"),
}


@pytest.fixture
def hostile(
    password_browser: Client, alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> Filled:
    """Alice's team with the text in all names, in a model's title and in errors."""
    load_catalogue(monkeypatch)
    Model.objects.update(title=TEXT)
    return fill(alice, alices_team, TEXT, TEXT)


def faults_of(page: ParsedPage) -> list[str]:
    """Return what the text has become besides text."""
    faults = [f"element {tag}" for tag in page.tags if "hostile" in tag]
    faults += [f"attribute {name}" for name in page.attributes if "hostile" in name]
    return faults + page.not_isolated


def test_every_page_shows_it_as_text(
    password_browser: Client, hostile: Filled, alices_team: Team
) -> None:
    failed = UsageRecord.objects.filter(error=TEXT).latest("created_at")
    paths = {
        name: address(name, hostile.arguments)
        for name, page in PAGES.items()
        if "GET" in page.methods and name not in {"account_logout", "invitation"}
    }
    paths |= {
        "apikeys all": "/settings/apikeys?show=all",
        "error": f"/usage/requests/{failed.pk}",
        "each transfer": "/statement?by=transfer",
        "failed order": f"/billing/orders/{alices_team.orders.get(state='failed').pk}",
    }
    faults, silent = [], []
    for name, path in paths.items():
        answer: Any = password_browser.get(path, headers={"x-team": alices_team.slug})
        if not answer.get("Content-Type", "").startswith("text/html"):
            continue
        page = parse(answer.content.decode())
        faults += [f"{name}: {fault}" for fault in faults_of(page)]
        blocks = json.dumps([json.loads(block) for block in page.scripts], ensure_ascii=False)
        shows = TEXT.strip() in page.text or json.dumps(TEXT, ensure_ascii=False)[1:-1] in blocks
        if not shows and name in SHOWING:
            silent.append(name)
    assert faults == []
    assert silent == []


def test_the_filters_give_it_back_as_text(password_browser: Client, hostile: Filled) -> None:
    for path in ("/usage?end_user=", "/usage?model=", "/docs/search?q=", "/team/audit?actor="):
        answer = password_browser.get(path, {path.split("?")[1][:-1]: TEXT})
        assert faults_of(parse(answer.content.decode())) == [], path


def test_json_and_csv_carry_it_whole(
    password_browser: Client, hostile: Filled, alices_team: Team
) -> None:
    team = {"x-team": alices_team.slug}
    stored = address("chat_conversation_json", hostile.arguments)
    told = password_browser.get(stored, headers=team).json()
    assert [told["title"], told["messages"][1]["content"]] == [TEXT, TEXT]
    rows = csv.DictReader(
        io.StringIO(b"".join(password_browser.get("/usage.csv")).decode(), newline="")
    )
    assert {row["user"] for row in rows} == {TEXT}


def test_emails_carry_it_as_text(
    password_browser: Client, hostile: Filled, alice: User, mailoutbox: list[Any]
) -> None:
    invitation = hostile.team.invitations.latest("pk")
    send_invitation(invitation, "token", "Everything.")
    notices = list(due.new_keys(timezone.now()))
    assert notices
    emails = [*mailoutbox, *(_email(notice) for notice in notices)]
    for email in emails:
        assert "\n" not in email.subject
        assert TEXT in email.body
        html = parse(email.alternatives[0][0])
        assert faults_of(html) == []
        assert TEXT in html.text
        email.message().as_bytes()


def _email(notice: due.Notice) -> Any:
    return write(notice.kind.value, notice.user.email, tasks._context(notice))
