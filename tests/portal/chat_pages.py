"""Helpers for the tests of chat: calls of its JSON endpoints, and a record of a charge."""

import json
import uuid
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.test import Client

from accounts import teams
from accounts.models import ApiKey, Team, User
from billing.models import CreditAccount, PriceVersion, UsageRecord
from portal.models import Conversation

URL = "/chat/conversations"
SETTINGS = {"system": "", "temperature": None, "max_tokens": None, "thinking": None}


def send(
    browser: Client, method: str, url: str, body: Any = None, *, team: Team | None = None
) -> HttpResponse:
    """Send JSON as the script of the team's page does; the team is that of the session."""
    slug = team.slug if team else browser.session.get("team") or _personal_team(browser)
    data = body if isinstance(body, str) else json.dumps(body) if body is not None else ""
    return browser.generic(method, url, data, "application/json", headers={"x-team": slug})


def search(browser: Client, text: str, **options: Any) -> Any:
    """Ask for the stored conversations that hold the text."""
    return send(browser, "GET", f"{URL}?{urlencode({'q': text})}", **options)


def store(browser: Client, stores: bool = True) -> None:
    """Choose whether conversations are stored."""
    assert send(browser, "POST", "/chat/storage", {"stores": stores}).status_code == 200


def turn(role: str, content: str, **fields: Any) -> dict[str, Any]:
    """Return a message as the page sends it."""
    return {"role": role, "content": content, **fields}


def new(title: str = "Tolls", *messages: dict[str, Any]) -> dict[str, Any]:
    """Return a conversation as the page sends it."""
    said = list(messages) or [turn("user", "What is a toll?"), turn("assistant", "A fee.")]
    return {"title": title, "model": "glm-5.2", "messages": said, "settings": SETTINGS}


def made(browser: Client, *arguments: Any) -> Conversation:
    """Store a conversation and return it."""
    answer = send(browser, "POST", URL, new(*arguments))
    assert answer.status_code == 201, answer.content
    return Conversation.objects.get(pk=answer.json()["id"])


def charge(account: CreditAccount, key: ApiKey, nanos: int) -> uuid.UUID:
    """Write a request's record, as if it was settled, and return its id."""
    record = UsageRecord(
        request_id=uuid.uuid4(),
        account=account,
        key=key,
        price_version=PriceVersion(pk=1),
        model="glm-5.2",
        surface="v1",
        endpoint="chat_completions",
        cost_nanos=nanos,
        charged_nanos=nanos,
        outcome="completed",
    )
    record.save(force_insert=True)
    return record.request_id


def _personal_team(browser: Client) -> str:
    team = teams.personal_team(User.objects.get(pk=browser.session["_auth_user_id"]))
    assert team is not None
    return team.slug
