"""Alert targets: their pages in the admin, their secrets, and the hosts that they may have."""

from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.test import Client

from api import reencryption
from api.alert_targets import check_address, check_secret, read_secret
from api.models import AlertDelivery, AlertTarget
from api.tasks import encrypt_secrets
from billing.ledger.alerts import raise_alert
from billing.models import LedgerAlert
from tests.portal.alert_receiver import SECRET, Receiver, run_round, target_of

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/hook",
        "https://127.0.0.1/hook",
        "https://169.254.169.254/latest",
        "http://hooks.example.com/x",
        "https://localhost/x",
        "https://user:secret@hooks.example.com/x",
        "ftp://hooks.example.com",
        "not a URL",
        "https://[::1",
    ],
)
def test_hosts_are_guarded_as_upstreams_are(settings: Any, url: str) -> None:
    settings.UPSTREAM_HOSTS = ["*"]
    with pytest.raises(ValidationError):
        check_address("webhook", url)
    with pytest.raises(ValidationError):
        check_secret("slack", url)


def test_a_host_that_is_no_longer_allowed_is_not_called(receiver: Receiver, settings: Any) -> None:
    target_of("webhook", receiver.url, SECRET)
    settings.UPSTREAM_HOSTS = ["*"]
    raise_alert("invariant", "1", "detail")
    run_round()
    assert receiver.got == []
    assert AlertDelivery.objects.get().error == "UPSTREAM_HOSTS doesn't allow its host."


def test_a_name_that_leads_inside_is_not_called(
    receiver: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = receiver.server.server_port
    monkeypatch.setattr("api.alert_targets.problem_with", lambda _url: "")
    monkeypatch.setattr("portal.alerts.channels.problem_with", lambda _url: "")
    settings.UPSTREAM_HOSTS = ["*"]
    target_of("webhook", f"http://localhost:{port}/hook", SECRET)
    raise_alert("invariant", "1", "detail")
    run_round()
    assert receiver.got == []
    assert AlertDelivery.objects.get().error == "It can't be reached: ConnectError."


# The admin


URL = "/admin/api/alerttarget/"


def form(**changes: str) -> dict[str, str]:
    """Return the form of a webhook's target."""
    return {
        "name": "pager",
        "channel": "webhook",
        "address": "https://pager.example.com/hook",
        "least_severity": "warning",
        "is_enabled": "on",
        "new_secret": "",
        **changes,
    }


def test_a_secret_is_entered_once_and_never_shown(staff: Client) -> None:
    assert "new_secret" in errors_of(staff.post(f"{URL}add/", form()))
    assert staff.post(f"{URL}add/", form(new_secret=SECRET)).status_code == 302
    target = AlertTarget.objects.get()
    assert target.encrypted_secret.startswith("enc:")
    assert read_secret(target) == SECRET
    change = f"{URL}{target.pk}/change/"
    pages = [staff.get(url).content.decode() for url in (URL, change, f"{URL}{target.pk}/history/")]
    assert all(SECRET not in page and SECRET[6:] not in page for page in pages)
    # Another address needs the secret again: it must not be sent anywhere else.
    moved = form(address="https://evil.example.com/hook")
    assert "new_secret" in errors_of(staff.post(change, moved))
    assert staff.post(change, form(name="renamed")).status_code == 302
    target.refresh_from_db()
    assert (target.name, read_secret(target)) == ("renamed", SECRET)


def test_a_slack_target_keeps_its_url_secret(staff: Client) -> None:
    url = "https://hooks.slack.com/services/T1/B2/verysecret"
    slack = {"channel": "slack", "address": ""}
    assert staff.post(f"{URL}add/", form(**slack, new_secret=url)).status_code == 302
    target = AlertTarget.objects.get()
    assert target.address == "https://hooks.slack.com"
    change = f"{URL}{target.pk}/change/"
    assert "verysecret" not in staff.get(change).content.decode()
    again = form(**{**slack, "address": target.address}, name="renamed")
    assert staff.post(change, again).status_code == 302
    target.refresh_from_db()
    assert (target.name, target.address) == ("renamed", "https://hooks.slack.com")
    assert read_secret(target) == url


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"new_secret": "whsec_short"}, "new_secret"),
        ({"new_secret": "x" * 40}, "new_secret"),
        ({"channel": "email", "address": "no address"}, "address"),
        ({"channel": "email", "address": "a@example.com", "new_secret": SECRET}, "new_secret"),
        ({"address": "https://10.0.0.8/hook", "new_secret": SECRET}, "address"),
        ({"channel": "slack", "new_secret": "http://10.0.0.8/x"}, "new_secret"),
    ],
)
def test_what_cannot_be_sent_to_is_refused(
    staff: Client, changes: dict[str, str], field: str
) -> None:
    assert field in errors_of(staff.post(f"{URL}add/", form(**changes)))
    assert not AlertTarget.objects.exists()


def test_a_test_alert_goes_to_the_chosen_target_alone(staff: Client) -> None:
    chosen = target_of("email", "chosen@example.com")
    target_of("email", "other@example.com")
    action = {"action": "send_test_alert", "_selected_action": [chosen.pk]}
    assert staff.post(URL, action).status_code == 302
    assert run_round() == 1
    (email,) = mail.outbox
    assert (email.to, email.subject) == (["chosen@example.com"], "[Tollgate] Warning: test")
    assert LedgerAlert.objects.get().handled_at is not None


def test_a_failing_target_is_seen_in_the_list(staff: Client, receiver: Receiver) -> None:
    target = target_of("webhook", receiver.url, SECRET)
    receiver.statuses = [410]
    raise_alert("invariant", "1", "detail")
    run_round()
    assert "It answered with status 410." in staff.get(URL).content.decode()
    # Saving the row is the word that it was repaired.
    receiver.statuses = [200]
    changed = form(name=target.name, address=target.address)
    assert staff.post(f"{URL}{target.pk}/change/", changed).status_code == 302
    assert run_round() == 1


def test_secrets_are_encrypted_anew_under_a_new_key(settings: Any) -> None:
    target = target_of("webhook", "https://pager.example.com/hook", SECRET)
    settings.ENCRYPTION_KEYS = {**settings.ENCRYPTION_KEYS, 8: b"8" * 32}
    assert encrypt_secrets() == 1
    settings.ENCRYPTION_KEYS = {8: b"8" * 32}
    target.refresh_from_db()
    assert read_secret(target) == SECRET


def test_a_secret_that_is_removed_during_reencryption_stays_removed() -> None:
    target = target_of("webhook", "https://pager.example.com/hook", SECRET)
    AlertTarget.objects.update(encrypted_secret="")
    assert not reencryption._reencrypt_alert_target(target)
    target.refresh_from_db()
    assert target.encrypted_secret == ""


def errors_of(response: Any) -> Any:
    assert response.status_code == 200
    return response.context["adminform"].form.errors
