"""The brand's pages: a draft is its author's alone, and publishing it changes every page."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from api.models import Service
from portal.brand.current import BrandCache
from portal.emails.sending import write
from portal.models import Brand, BrandDraft
from tests.cast import signed_in
from tests.portal.pictures import SVG, png

pytestmark = pytest.mark.django_db

LIGHT, DARK = "#5b2a86", "#c9a7ec"
EVIL = "<script>alert(1)</script>{{ service.key_prefix }}{% now 'Y' %}"
TEXTS = {
    "name": "Moodlight",
    "tagline": "Models for night owls",
    "contact_email": "help@mood.example",
    "accent_light": LIGHT,
    "accent_dark": DARK,
    "headline": "Awake when you are",
    "lead": "A lead of our own",
    "points": "First point\n\nSecond point",
    "email_opening": "Good evening,",
    "email_closing": "Sleep well.",
    "email_signature": "Moodlight Ltd, Example Street 1",
}
MARKS = [*TEXTS.values(), LIGHT]
PUBLIC = ["/", "/docs", "/status", "/legal/terms", "/legal/privacy", "/accounts/login/"]


def editor(name: str = "editor") -> Client:
    """Return the browser of somebody who may change the brand and nothing else."""
    user = User.objects.create_user(f"{name}@example.com", is_staff=True)
    user.user_permissions.set([Permission.objects.get(codename="change_brand")])
    return signed_in(user)


@pytest.fixture(autouse=True)
def service() -> Service:
    """The service's row."""
    return Service.objects.create(pk=1, contact_email="contact@example.com")


def save(browser: Client, logo: bytes | None = SVG, **changes: Any) -> Any:
    """Save a draft by the form."""
    fields: dict[str, Any] = {**TEXTS, **changes}
    if logo:
        fields["logo_file"] = SimpleUploadedFile("logo.svg", logo)
    return browser.post("/admin/brand", fields)


def publish(browser: Client, logo: bytes | None = SVG, **changes: Any) -> None:
    """Save a draft and publish it."""
    assert save(browser, logo, **changes).status_code == 302
    assert browser.post("/admin/brand/publish").status_code == 302


def texts_of(browser: Client, paths: list[str]) -> str:
    return "\n".join(browser.get(path, follow=True).content.decode() for path in paths)


def test_a_draft_is_seen_by_its_author_in_previews_and_by_nobody_else(client: Client) -> None:
    author, other = editor(), editor("other")
    assert save(author).status_code == 302
    shown = author.get("/admin/brand/preview/home").content.decode()
    for mark in ("Moodlight", "Awake when you are", "A lead of our own", "Second point"):
        assert mark in shown
    assert "/admin/brand/draft/" in shown, "its logo and colors"
    digest = shown.split("/admin/brand/draft/")[1].split("/")[0]
    for kind in ("logo", "colors"):
        assert author.get(f"/admin/brand/draft/{digest}/{kind}").status_code == 200
        assert other.get(f"/admin/brand/draft/{digest}/{kind}").status_code == 404
        assert client.get(f"/admin/brand/draft/{digest}/{kind}").status_code == 302
        assert digest not in str(client.get(f"/brand/{digest}/{kind}").headers)

    everywhere = texts_of(client, PUBLIC) + texts_of(author, [*PUBLIC, "/admin/"])
    previews = ["home", "components", "terms", "email-low_balance"]
    others = texts_of(
        other, ["/admin/brand", *(f"/admin/brand/preview/{each}" for each in previews)]
    )
    email = write("email_code", "a@example.com", {"code": "123456"})
    seen = everywhere + others + email.body + str(email.alternatives[0][0]) + email.from_email
    assert [mark for mark in MARKS if mark in seen] == []
    assert Service.objects.get().name == "Tollgate"
    assert not LogEntry.objects.exists()


def test_a_preview_shows_pages_and_emails_in_light_and_dark_for_this_site_only() -> None:
    author = editor()
    save(author, imprint_text="# Operator\n\nMoodlight Ltd")
    for page in ("home", "components", "terms", "privacy", "imprint"):
        for theme in ("light", "dark"):
            answer = author.get(f"/admin/brand/preview/{page}?theme={theme}")
            assert answer.status_code == 200
            assert f'data-theme="{theme}"' in answer.content.decode()
            assert "Moodlight" in answer.content.decode()
            assert answer["X-Frame-Options"] == "SAMEORIGIN"
            assert "frame-ancestors 'self'" in answer["Content-Security-Policy"]
    email = author.get("/admin/brand/preview/email-email_code?theme=dark")
    assert "Good evening," in email.content.decode()
    assert "@media all" in email.content.decode()
    assert email["Content-Security-Policy"].endswith("sandbox")
    frames = author.get("/admin/brand/preview?page=email-email_code&theme=dark")
    assert frames.content.decode().count("<iframe") == 2
    assert "frame-src 'self'" in frames["Content-Security-Policy"]
    for path in ("/admin/brand/preview/nothing", "/admin/brand/preview?page=nothing"):
        assert author.get(path).status_code == 404
    assert author.get("/admin/brand/preview/email-alert").status_code == 404


def test_a_published_brand_is_on_every_page_in_emails_and_in_the_admin(client: Client) -> None:
    author = editor()
    publish(author)
    home = client.get("/").content.decode()
    for mark in ("Moodlight", "Awake when you are", "A lead of our own", "First point"):
        assert mark in home
    assert "help@mood.example" in home
    digest = Service.objects.get().brand_digest
    for path in PUBLIC:
        page = client.get(path).content.decode()
        assert f'<link rel="stylesheet" href="/brand/{digest}/colors">' in page, path
        assert f'href="/brand/{digest}/logo" type="image/svg+xml"' in page, path
        assert "static/icon.svg" not in page, path
        assert "Tollgate" not in page, path
    assert "og.png" not in home
    assert client.get("/favicon.ico")["Location"] == f"/brand/{digest}/logo"
    admin = author.get("/admin/").content.decode()
    assert "Moodlight" in admin
    assert f"/brand/{digest}/colors" in admin
    assert f"/brand/{digest}/logo" in admin
    css = client.get(f"/brand/{digest}/colors").content.decode()
    assert f"--accent: light-dark({LIGHT}, {DARK});" in css
    assert f"--color-primary-600: {LIGHT};" in css

    email = write("password_reset", "a@example.com", {"password_reset_url": "https://x.example/r"})
    html = str(email.alternatives[0][0])
    assert email.from_email.startswith("Moodlight <")
    for mark in ("Good evening,", "Sleep well.", "Moodlight Ltd, Example Street 1"):
        assert mark in email.body
        assert mark in html
    assert f"background:{LIGHT};" in html
    assert f"background: {DARK} !important" in html
    assert email.body.index("Good evening") < email.body.index("https://x.example/r")
    assert email.body.index("https://x.example/r") < email.body.index("Sleep well")


def test_publishing_is_in_the_staff_log_and_ends_the_draft() -> None:
    author = editor()
    publish(author)
    entry = LogEntry.objects.get()
    assert entry.user.email == "editor@example.com"
    assert "“Tollgate” → “Moodlight”" in entry.change_message
    assert LIGHT in entry.change_message
    assert not BrandDraft.objects.exists()


def test_the_brand_costs_no_query_and_every_process_sees_the_next_one(client: Client) -> None:
    client.get("/legal/terms")
    with CaptureQueriesContext(connection) as shipped:
        client.get("/legal/terms")
    author = editor()
    publish(author)
    client.get("/legal/terms")
    with CaptureQueriesContext(connection) as branded:
        page = client.get("/legal/terms").content.decode()
    assert "Moodlight" in page
    assert len(branded) == len(shipped)
    logo_url = f"/brand/{Service.objects.get().brand_digest}/logo"
    with CaptureQueriesContext(connection) as files:
        client.get(logo_url)
    assert len(files) == 0

    other_process = BrandCache()
    assert other_process.brand_of(Service.objects.get()).row.headline == "Awake when you are"
    publish(author, headline="Another headline")
    assert other_process.brand_of(Service.objects.get()).row.headline == "Another headline"
    assert "Another headline" in client.get("/").content.decode()


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_logo_is_served_so_that_it_can_do_nothing_and_is_kept(
    client: Client, kind: str
) -> None:
    publish(editor(), SVG if kind == "svg" else png())
    url = client.get("/favicon.ico")["Location"]
    answer = client.get(url)
    assert answer["Content-Type"] == {"svg": "image/svg+xml", "png": "image/png"}[kind]
    policy = answer["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert policy.endswith("sandbox")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "public, max-age=31536000, immutable"
    assert client.get(url, headers={"if-none-match": answer["ETag"]}).status_code == 304
    assert client.get(url.replace("logo", "other")).status_code == 404
    home = client.get("/").content.decode()
    assert ('rel="apple-touch-icon"' in home) == (kind == "png")
    assert ('property="og:image"' in home) == (kind == "png")


def test_the_address_of_an_earlier_logo_leads_to_the_current_one(client: Client) -> None:
    author = editor()
    publish(author)
    old = client.get("/favicon.ico")["Location"]
    publish(author, png())
    new = client.get("/favicon.ico")["Location"]
    assert new != old
    assert client.get(old)["Location"] == new


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logo": b"<svg onload='x'>"}, "neither a PNG nor an SVG"),
        ({"logo": SVG.replace(b"<circle", b"<script/><circle")}, "Remove the element"),
        ({"accent_light": "#ffcc00"}, "Make it darker"),
        ({"accent_dark": "#222222"}, "Make it lighter"),
        ({"accent_light": "red;} body{}"}, "six digits"),
        ({"name": " "}, "required"),
        ({"contact_email": "nothing"}, "valid email"),
        ({"terms_url": "http://terms.example"}, "begins with https://"),
        ({"imprint_url": "javascript:alert(1)"}, "begins with https://"),
        ({"privacy_url": "https://user@evil.example/"}, "begins with https://"),
        ({"terms_url": "https://terms.example", "terms_text": "x"}, "not both"),
        ({"points": "\n".join("abcdefg")}, "the most is 6"),
        ({"points": "x" * 101}, "at most 100"),
        ({"headline": "x" * 121}, "at most 120"),
    ],
)
def test_a_mistake_is_explained_and_nothing_is_saved(changes: Any, message: str) -> None:
    answer = save(editor(), **changes)
    assert answer.status_code == 200
    errors = answer.context["form"].errors
    assert message in str(errors.as_data()), errors
    assert not BrandDraft.objects.exists()


def test_what_is_written_is_text_everywhere(client: Client) -> None:
    author = editor()
    texts = ["name", "tagline", "headline", "lead", "points", "email_opening", "email_closing"]
    texts += ["email_signature", "terms_text", "privacy_text", "imprint_text"]
    publish(author, **{name: EVIL[: 80 if name == "name" else 500] for name in texts})
    body = {"subject": EVIL.replace("{", "").replace("}", ""), "body": "<b>x</b> {code}"}
    assert author.post("/admin/brand/emails/email_code", body).status_code == 302
    author.post("/admin/brand/publish")
    email = write("email_code", "a@example.com", {"code": "<i>1</i>"})
    html = str(email.alternatives[0][0])
    pages = texts_of(client, [*PUBLIC, "/legal/imprint"])
    pages += texts_of(author, ["/admin/brand", "/admin/brand/preview/home", "/admin/"])
    for text in (pages, html):
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert" in text
    assert "{{ service.key_prefix }}" in client.get("/legal/imprint").content.decode()
    assert "&lt;b&gt;x&lt;/b&gt; &lt;i&gt;1&lt;/i&gt;" in html
    assert "\n" not in email.subject


def test_legal_texts_and_links_are_the_operators_and_sign_ups_accept_them(client: Client) -> None:
    author = editor()
    assert client.get("/legal/imprint").status_code == 404
    publish(
        author,
        terms_text="# Rules\n\nBe kind.\n\n- Point one\n- Point two",
        privacy_url="https://privacy.example/policy",
        imprint_text="Moodlight Ltd\nExample Street 1",
    )
    terms = client.get("/legal/terms").content.decode()
    assert '<h2 dir="auto">Rules</h2>' in terms
    assert '<li dir="auto">Point two</li>' in terms
    version = Brand.objects.get().terms_version
    assert f"Version {version}" in terms
    assert client.get("/legal/privacy")["Location"] == "https://privacy.example/policy"
    assert "Moodlight Ltd<br>Example Street 1" in client.get("/legal/imprint").content.decode()
    assert 'href="/legal/imprint"' in client.get("/").content.decode()
    assert "/legal/imprint" in client.get("/sitemap.xml").content.decode()

    form = {"email": "new@example.com", "password1": "correct horse battery"}
    client.post("/accounts/signup/", form)
    assert User.objects.get(email="new@example.com").terms_version == version
    author.post("/admin/brand/reset")
    author.post("/admin/brand/publish")
    assert Brand.objects.get().terms_version == ""
    assert "By creating an account you accept them" in client.get("/legal/terms").content.decode()


def test_other_changes_leave_the_version_of_the_terms(client: Client) -> None:
    author = editor()
    publish(author, terms_text="Be kind.")
    Brand.objects.update(terms_version="2026-01-01")
    publish(author, terms_text="Be kind.", headline="Another")
    assert Brand.objects.get().terms_version == "2026-01-01"
    publish(author, terms_text="Be kinder.")
    assert Brand.objects.get().terms_version > "2026-01-01"


def test_a_draft_is_not_published_over_another_that_it_was_not_compared_with() -> None:
    first, second = editor(), editor("second")
    save(first)
    publish(second, headline="The second's")
    answer = first.post("/admin/brand/publish", follow=True)
    assert "Someone else published" in answer.content.decode()
    assert "headline: “The second's” → “Awake when you are”" in answer.context["changes"]
    assert Brand.objects.get().headline == "The second's"
    first.post("/admin/brand/publish")
    assert Brand.objects.get().headline == "Awake when you are"


def test_a_reset_brings_back_what_ships_and_keeps_the_name(client: Client) -> None:
    author = editor()
    publish(author)
    author.post("/admin/brand/reset")
    assert "Awake when you are" in client.get("/").content.decode(), "not before it is published"
    author.post("/admin/brand/publish")
    home = client.get("/").content.decode()
    assert "Awake when you are" not in home
    assert "/static/icon.svg" in home
    assert "/brand/" not in home
    assert "Moodlight" in home
    assert Service.objects.get().brand_digest == ""


def test_a_discarded_draft_is_gone_and_the_logo_can_be_taken_back() -> None:
    author = editor()
    save(author)
    author.post("/admin/brand/discard")
    assert not BrandDraft.objects.exists()
    publish(author)
    save(author, None, removes_logo="on")
    assert bytes(BrandDraft.objects.get().logo) == b""
    save(author, None)
    author.post("/admin/brand/discard")
    assert author.post("/admin/brand/publish", follow=True).status_code == 200
    assert bytes(Brand.objects.get().logo), "a draft that isn't there changes nothing"


@pytest.mark.parametrize("codename", ["change_service", "view_team", "change_user"])
def test_no_other_permission_opens_the_brand(codename: str, client: Client) -> None:
    save(editor())
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename=codename))
    browser = signed_in(clerk)
    for path in ("", "/preview", "/preview/home", "/emails/email_code", "/draft/0/logo"):
        assert browser.get(f"/admin/brand{path}").status_code == 403
        assert client.get(f"/admin/brand{path}").status_code == 302
    for action in ("publish", "discard", "reset"):
        assert browser.post(f"/admin/brand/{action}").status_code == 403
        assert editor(action).get(f"/admin/brand/{action}").status_code == 405
    assert BrandDraft.objects.count() == 1
    assert not Brand.objects.exists()


def test_the_brand_is_all_that_its_permission_changes() -> None:
    author = editor()
    before = Service.objects.values().get()
    publish(author, key_prefix="evil-", is_open="", brand_digest="x", terms_version="x")
    after = Service.objects.values().get()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"name", "tagline", "contact_email", "brand_digest"}
    assert Brand.objects.get().terms_version == ""
