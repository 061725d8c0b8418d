"""Emails: text and HTML of each, the folder of `make run`, and /dev/mail."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core import mail as django_mail
from django.core.mail import get_connection
from django.test import Client
from kombu.exceptions import OperationalError

from portal.emails import sending
from portal.emails.checks import check_mail_is_sent
from portal.emails.kinds import SECURITY_NOTICES
from portal.emails.sending import send_email, write
from portal.mailbox.queries import emails
from tests.support import fresh_programs

pytestmark = pytest.mark.django_db

CONTEXT = {
    "code": "123456",
    "minutes": 15,
    "password_reset_url": "http://testserver/reset",
    "signup_url": "http://testserver/signup",
    "notice": "email_deleted",
    "deleted_email": "b@example.com",
    "device": "<b>Firefox</b>",
    "ip": "192.0.2.1",
    "at": "2026-11-21 12:00 UTC",
}
TEMPLATES = Path(configured.BASE_DIR) / "templates" / "mail"
OURS = ["email_code", "account_exists", "unknown_account", "password_reset", "security_notice"]
OURS += ["new_sign_in", "staff_code"]


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    """The folder of emails, with /dev/mail on it."""
    settings.MAIL_DIR, settings.SHOWS_MAILBOX = str(tmp_path), True
    settings.EMAIL_FILE_PATH = str(tmp_path)
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    return tmp_path


@pytest.mark.parametrize("name", OURS)
def test_each_email_has_a_subject_a_text_and_html_in_one_layout(name: str) -> None:
    email = write(name, "a@example.com", CONTEXT)
    html, kind = email.alternatives[0]
    assert kind == "text/html"
    assert email.subject
    assert "\n" not in email.subject
    assert "{" not in email.body + email.subject
    assert "Tollgate" in email.body
    assert "prefers-color-scheme: dark" in html
    assert "<script" not in html
    assert "<b>Firefox" not in html, "what a client says of itself is text"
    assert email.from_email.startswith("Tollgate <")


def test_a_subject_stays_one_line() -> None:
    email = write("email_code", "a@example.com", {**CONTEXT, "code": "1\nBcc: b@example.com"})
    assert "\n" not in email.subject


def test_every_notice_of_allauths_has_words() -> None:
    assert set(SECURITY_NOTICES) >= {
        "password_changed",
        "totp_activated",
        "webauthn_added",
        "email_changed",
    }


def test_a_email_is_sent_by_celery_after_the_commit(
    django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued: list[Any] = []
    monkeypatch.setattr(send_email, "apply_async", lambda args, **options: queued.append(args))
    with django_capture_on_commit_callbacks(execute=True):
        sending.send_later("new_sign_in", "a@example.com", CONTEXT)
        assert queued == []
    assert django_mail.outbox == []
    send_email(*queued[0])
    assert django_mail.outbox[0].to == ["a@example.com"]


def test_pages_queue_where_the_worker_looks(settings: Any) -> None:
    assert send_email.app.conf.broker_url == settings.CELERY_BROKER_URL


def test_a_queue_that_is_away_breaks_nothing(
    django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(send_email, "apply_async", away)
    with django_capture_on_commit_callbacks(execute=True):
        sending.send_later("new_sign_in", "a@example.com", CONTEXT)


def test_the_folder_lists_emails_newest_first(folder: Path, client: Client) -> None:
    for code in ("111111", "222222"):
        sending.send("email_code", "a@example.com", {"code": code})
    assert [email.subject[:6] for email in emails(folder)] == ["222222", "111111"]
    page = client.get("/dev/mail").content.decode()
    assert page.index("222222") < page.index("111111")


def test_emails_of_one_connection_are_told_apart(folder: Path) -> None:
    both = [write("email_code", f"{name}@example.com", CONTEXT) for name in "ab"]
    get_connection().send_messages(both)
    assert [email.to for email in emails(folder)] == ["b@example.com", "a@example.com"]


def test_a_email_is_shown_as_text_and_as_html_that_can_do_nothing(
    folder: Path, client: Client
) -> None:
    sending.send("new_sign_in", "a@example.com", CONTEXT)
    (email,) = emails(folder)
    page = client.get(f"/dev/mail/{email.id}")
    assert "&lt;b&gt;Firefox" in page.content.decode()
    assert "frame-src 'self'" in page["Content-Security-Policy"]
    html = client.get(f"/dev/mail/{email.id}/html")
    assert "sandbox" in html["Content-Security-Policy"]
    assert "default-src 'none'" in html["Content-Security-Policy"]
    assert html["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize("name", ["1-1-1-0", "x", "20260101-000000-1", "a-b-c-d"])
def test_a_email_that_is_not_there_is_404(folder: Path, client: Client, name: str) -> None:
    assert client.get(f"/dev/mail/{name}").status_code == 404


def test_a_folder_alone_shows_no_emails(folder: Path, client: Client, settings: Any) -> None:
    settings.SHOWS_MAILBOX = False
    for path in ("/dev/mail", "/dev/mail/1-1-1-0", "/dev/mail/1-1-1-0/html"):
        assert client.get(path).status_code == 404


def test_a_deployment_whose_emails_anybody_can_read_is_warned_of(settings: Any) -> None:
    settings.MAIL_DIR = ""
    assert check_mail_is_sent(None) == []
    settings.MAIL_DIR = "/tmp/mail"
    assert [each.id for each in check_mail_is_sent(None)] == ["portal.W001"]


@pytest.mark.parametrize(
    ("environment", "is_shown"),
    [
        ({"MAIL_DIR": "/nowhere"}, False),
        ({"DEVELOPMENT": "1"}, False),
        ({"MAIL_DIR": "/nowhere", "DEVELOPMENT": "1"}, True),
        ({"MAIL_DIR": "/nowhere", "DEBUG": "1"}, True),
    ],
)
def test_the_mailbox_is_for_development(environment: dict[str, str], is_shown: bool) -> None:
    code = "from config.settings import SHOWS_MAILBOX as shown; print(shown)"
    own = {"LOCAL_DIR": "/nowhere", **environment}
    _, said, complained = fresh_programs.run(["-c", code], own)
    assert said.strip() == str(is_shown), complained


def test_an_email_that_the_last_release_queued_has_its_text() -> None:
    told = {"title": "A passkey was added", "sentence": "A passkey was added to your account."}
    send_email("security_notice", "a@example.com", {**told, "at": "", "ip": "", "device": ""})
    send_email("status_update", "a@example.com", {"kind": "Incident", "title": "Slow", "text": "!"})
    notice, update = django_mail.outbox
    assert notice.subject.startswith(told["title"])
    assert told["sentence"] in notice.body
    assert "Incident: Slow" in update.subject
