"""The address that a key was last used from: remembered in memory, written now and then."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import api_keys
from accounts.models import ApiKey
from api.gateway.key_addresses import FORGET_DAYS, KeyAddresses
from api.models import KeyAddress, KeyNetwork
from api.tasks import forget_key_addresses
from tests.api.gateway.world import World, in_loop
from tests.billing.gates import database
from tests.billing.ledger_calls import make_customer, run

pytestmark = pytest.mark.django_db(transaction=True)


def written(seen: dict[int, tuple[str, bytes]]) -> dict[int, str]:
    """Write what a process saw, and return every key's address."""
    addresses = KeyAddresses(database())
    addresses.seen = dict(seen)
    run(addresses.flush())
    assert addresses.seen == {}
    return dict(KeyAddress.objects.values_list("key_id", "address"))


def test_the_last_address_replaces_the_former_one() -> None:
    key = make_customer().key.pk
    assert written({key: ("192.0.2.1", b"")}) == {key: "192.0.2.1"}
    assert written({key: ("2001:db8::1", b"")}) == {key: "2001:db8::1"}


def test_an_address_is_the_one_that_the_proxy_saw(settings: Any) -> None:
    settings.BEHIND_PROXY, settings.PROXY_COUNT = True, 1
    key = make_customer().key.pk
    seen = {key: ("127.0.0.1", b"203.0.113.7, 198.51.100.9")}
    assert written(seen) == {key: "198.51.100.9"}


def test_the_same_address_is_written_at_most_once_an_hour() -> None:
    key = make_customer().key.pk
    written({key: ("192.0.2.1", b"")})
    first = KeyAddress.objects.get().seen_at
    written({key: ("192.0.2.1", b"")})
    assert KeyAddress.objects.get().seen_at == first
    KeyAddress.objects.update(seen_at=first - timedelta(hours=2))
    written({key: ("192.0.2.1", b"")})
    assert KeyAddress.objects.get().seen_at >= first


def test_the_networks_of_addresses_are_noted() -> None:
    key = make_customer().key.pk
    for address in ("192.0.2.1", "192.0.2.200", "198.51.100.9", "2001:db8:1:2::3"):
        written({key: (address, b"")})
    noted = KeyNetwork.objects.order_by("pk").values_list("network", flat=True)
    assert list(noted) == ["192.0.2.0", "198.51.100.0", "2001:db8:1::"]


def test_a_key_that_was_deleted_meanwhile_is_left_out() -> None:
    key = make_customer().key.pk
    assert written({key: ("192.0.2.1", b""), key + 1000: ("192.0.2.2", b"")}) == {key: "192.0.2.1"}


def test_addresses_wait_for_the_database() -> None:
    addresses = KeyAddresses("postgresql://nobody@127.0.0.1:1/none")
    addresses.seen = {1: ("192.0.2.1", b"")}

    async def fails() -> None:
        with pytest.raises(Exception, match="connection"):
            await addresses.flush()

    asyncio.run(fails())
    assert addresses.seen == {1: ("192.0.2.1", b"")}


@in_loop
async def test_an_admitted_request_is_noted_and_a_refused_one_is_not() -> None:
    async with World() as world:
        world.gate.code = "insufficient_quota"
        await world.chat()
        assert world.gateway.key_addresses.seen == {}
        world.gate.code = "admitted"
        await world.chat()
        ((key_id, (_, forwarded)),) = world.gateway.key_addresses.seen.items()
        assert (key_id, forwarded) == (1, b"")


def test_revoked_and_unused_keys_addresses_are_forgotten() -> None:
    kept, revoked, unused = (make_customer().key for _ in range(3))
    written({key.pk: ("192.0.2.1", b"") for key in (kept, revoked, unused)})
    api_keys.revoke_key(ApiKey.objects.get(pk=revoked.pk))
    old = timezone.now() - timedelta(days=FORGET_DAYS, minutes=1)
    KeyAddress.objects.filter(key=unused).update(seen_at=old)
    assert forget_key_addresses() == 3  # two addresses, and the network of the revoked key
    assert KeyAddress.objects.get().key_id == kept.pk
