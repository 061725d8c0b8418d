"""The words of emails: placeholders that are checked, values that are text, links that are ours."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from api.models import Service
from portal.brand.current import load
from portal.brand.texts import TextError, check_placeholders, email_blocks, fill, paragraphs
from portal.emails.sending import write
from portal.emails.texts import EMAILS, values_for
from portal.models import Brand
from tests.portal.test_brand_drafts import editor

pytestmark = pytest.mark.django_db

TEMPLATES = Path(settings.BASE_DIR) / "templates" / "mail"
TO_STAFF = {"alert", "staff_code", "staff_invitation"}


def publish_text(name: str, subject: str = "", body: str = "") -> Any:
    """Write an email's words by the form, and publish them."""
    author = editor()
    answer = author.post(f"/admin/brand/emails/{name}", {"subject": subject, "body": body})
    if answer.status_code == 302:
        author.post("/admin/brand/publish")
    return answer


def test_every_email_to_customers_can_be_written() -> None:
    names = {path.name.split(".")[0] for path in TEMPLATES.glob("*.subject.txt")}
    assert set(EMAILS) == names - TO_STAFF


@pytest.mark.parametrize("name", EMAILS)
def test_the_sample_fills_the_email_that_ships_and_every_placeholder(name: str) -> None:
    Service.objects.create(pk=1, contact_email="help@example.com")
    email = EMAILS[name]
    shipped = write(name, "customer@example.com", email.context)
    assert shipped.subject
    assert "None" not in shipped.body
    values = values_for(
        name,
        {
            **email.context,
            "service": Service.objects.get(),
            "base_url": "https://site.example",
            "to": "customer@example.com",
        },
    )
    assert [each for each, value in values.items() if not value] == []
    assert set(email.required) <= set(values)

    body = "\n\n".join(f"About {each}: {{{each}}}." for each in values)
    assert publish_text(name, "{service}", body).status_code == 302
    written = write(name, "customer@example.com", email.context)
    html = str(written.alternatives[0][0])
    assert written.subject == "Tollgate"
    for each, value in values.items():
        if each not in ("site_url", "reset_url", "sign_in_url", "sessions_url"):  # of BASE_URL
            assert f"About {each}: {value}." in written.body
        assert f"About {each}: " in html
    assert "{" not in written.body


def test_a_button_a_code_and_links_are_made_of_our_addresses_only() -> None:
    values = {
        "url": "https://ours.example/a?b=1&c=2",
        "code": "123456",
        "team": "evil.example {url}",
    }
    blocks = email_blocks(
        "Hi {team}\nSee {url}\n\nGo on: {url}\n\n{code}\n\nhttps://x.example", values
    )
    assert [block.kind for block in blocks] == ["paragraph", "button", "code", "paragraph"]
    assert [(span.text, span.is_link) for span in blocks[0].lines[0]] == [
        ("Hi ", False),
        ("evil.example {url}", False),
    ]
    assert blocks[0].lines[1][1].is_link
    assert (blocks[1].text, blocks[1].url) == ("Go on", values["url"])
    assert not any(span.is_link for line in blocks[3].lines for span in line)
    assert fill("{team}", values) == "evil.example {url}", "a value is not looked into"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("Your code is {kode}.", "{kode} is not a placeholder of this email. There are {code}"),
        ("Hello", "doesn't work without {code}"),
        ("{code} {{ settings.SECRET_KEY }}", "is not a placeholder"),
        ("{code} {service.__class__}", "is not a placeholder"),
        ("{code} {", "Braces are only for placeholders"),
        ("{code} {}", "is not a placeholder"),
    ],
)
def test_placeholders_are_checked(body: str, message: str) -> None:
    answer = publish_text("email_code", body=body)
    assert answer.status_code == 200
    assert message in answer.context["form"].errors["body"][0]
    assert not Brand.objects.exists()


def test_template_code_is_text() -> None:
    with pytest.raises(TextError):
        check_placeholders("{{ x }}", {"x"})
    body = "{code} {% load static %}".replace("{%", "").replace("%}", "")
    assert publish_text("email_code", body=body).status_code == 302
    assert "load static" in write("email_code", "a@example.com", {"code": "1"}).body


def test_an_emptied_text_is_the_one_that_ships() -> None:
    shipped = write("email_code", "a@example.com", {"code": "1"})
    publish_text("email_code", "Code {code}", "{code}")
    assert write("email_code", "a@example.com", {"code": "1"}).subject == "Code 1"
    author = editor("other")
    author.post("/admin/brand/emails/email_code", {"subject": "", "body": ""})
    author.post("/admin/brand/publish")
    again = write("email_code", "a@example.com", {"code": "1"})
    assert (again.subject, again.body) == (shipped.subject, shipped.body)


def test_emails_to_staff_keep_their_text() -> None:
    author = editor()
    for name in (*TO_STAFF, "nothing"):
        assert author.get(f"/admin/brand/emails/{name}").status_code == 404


def test_an_unsubscribing_link_stays_in_the_headers() -> None:
    publish_text("status_update", "", "{text}\n\nStop: {unsubscribe_url}")
    email = write("status_update", "a@example.com", EMAILS["status_update"].context)
    assert "List-Unsubscribe" in email.extra_headers


def test_a_legal_text_is_cut_into_blocks() -> None:
    blocks = paragraphs("# Title\r\nText\n\n\n- a\n- b\n\n<b>line</b>\nnext\n")
    assert [(block.kind, block.lines) for block in blocks] == [
        ("heading", ["Title"]),
        ("paragraph", ["Text"]),
        ("list", ["a", "b"]),
        ("paragraph", ["<b>line</b>", "next"]),
    ]
    assert paragraphs(" \n ") == []


def test_a_brand_of_an_older_release_with_an_email_that_is_gone_does_no_harm() -> None:
    brand = load(Brand(email_texts={"gone": {"subject": "x"}}), "x")
    assert brand.email_text("email_code") == {}
