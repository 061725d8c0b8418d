"""`manage.py revoke_key`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts import api_keys
from accounts.models import ApiKey
from tests.cast import issue

pytestmark = pytest.mark.django_db


def revoke_key(text: str) -> str:
    out = StringIO()
    call_command("revoke_key", text, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("by", ["id", "ellipsis", "dots"])
def test_a_key_is_named_by_its_id_or_as_it_is_shown(alices_key, bobs_key, by: str) -> None:
    key, plaintext = alices_key
    names = {
        "id": str(key.pk),
        "ellipsis": f"{key.prefix}…{key.last_four}",
        "dots": f"{key.prefix}...{key.last_four}",
    }
    assert f"API key {key.pk}" in revoke_key(names[by])
    assert api_keys.find_active(plaintext) is None
    assert api_keys.find_active(bobs_key.plaintext) == bobs_key.key


def test_twice_is_once(alices_key) -> None:
    assert revoke_key(str(alices_key.key.pk)) == revoke_key(str(alices_key.key.pk))


def test_of_several_that_look_alike_none_is_revoked(alices_team, alices_key) -> None:
    issue(alices_team, None)
    ApiKey.objects.update(last_four="aaaa")
    with pytest.raises(CommandError, match=f"Several.*{alices_key.key.pk} \\(alice\\)"):
        revoke_key("sk-tg-…aaaa")
    assert not ApiKey.objects.filter(revoked_at__isnull=False).exists()


@pytest.mark.parametrize("text", ["0", "9" * 18, "sk-tg-…zzzz", "sk-tg-", "", "9" * 40, "²"])
def test_a_name_of_no_key_is_said_to_be(alices_key, text: str) -> None:
    with pytest.raises(CommandError, match=r"No such API key|Name the key"):
        revoke_key(text)


def test_a_plaintext_is_not_taken_but_answered_with_the_id(alices_key) -> None:
    with pytest.raises(CommandError, match=f"revoke_key {alices_key.key.pk}"):
        revoke_key(alices_key.plaintext)
