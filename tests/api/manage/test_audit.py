"""The management API's actions are in the team's audit log, with their actor."""

import pytest

from accounts.models import AuditEntry
from tests.api.manage.conftest import Caller
from tests.cast import signed_in

pytestmark = pytest.mark.django_db


def test_a_management_keys_actions_are_recorded(as_manager, management_key, alices_team) -> None:
    made = as_manager("POST", "/keys", {"name": "CI"}).data
    path = f"/keys/{made['id']}"
    as_manager("PATCH", path, {"name": "Build", "budget_day": "1"})
    as_manager("PATCH", path, {})
    successor = as_manager("POST", f"{path}/rotate", {"grace_seconds": 60}).data
    as_manager("DELETE", f"/keys/{successor['id']}")
    as_manager("DELETE", f"/keys/{successor['id']}")
    entries = list(AuditEntry.objects.order_by("id"))
    assert [(entry.action, entry.detail) for entry in entries] == [
        ("key.created", {"scope": "inference"}),
        ("key.updated", {"fields": ["budget_day_nanos", "name"]}),
        (
            "key.rotated",
            {"successor": f"Build (sk-tg-…{successor['last_four']})", "grace_seconds": 60},
        ),
        ("key.revoked", {}),
    ]
    for entry in entries:
        assert entry.team == alices_team
        assert entry.actor is None
        assert entry.actor_label == f"management key {management_key.key}"
        assert entry.ip_address == "127.0.0.1"


def test_a_browsers_actions_are_its_users(alice) -> None:
    Caller(signed_in(alice))("POST", "/keys", {"name": "CI"})
    assert AuditEntry.objects.get().actor == alice


def test_what_is_refused_is_not_written_down(as_manager, alices_key) -> None:
    path = f"/keys/{alices_key.key.pk}"
    as_manager("POST", "/keys", {"name": ""})
    as_manager("PATCH", path, {"requests_per_minute": 0})
    as_manager("POST", f"{path}/rotate", {"grace_seconds": -1})
    as_manager("DELETE", "/keys/999999")
    assert not AuditEntry.objects.exists()
