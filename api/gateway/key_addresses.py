"""The IP address of each key's last admitted request, for its team to see, and its networks.

Each process remembers the newest request of a key and writes its address every few seconds. A row
is written only when the address is another one, or an hour old.
"""

from accounts.client_ip import client_address
from api.gateway.shared_counts import SharedCounts

FORGET_DAYS = 90

# Rows that stay as they are, which most do, are left out first: ON CONFLICT would lock each.
# The networks (IPv4 /24, IPv6 /48) are for api/key_guard.py. A key whose address was not written
# has no new one.
_WRITE = """
WITH written AS (
    INSERT INTO api_keyaddress (key_id, address, seen_at)
    SELECT k.id, seen.address, now()
    FROM unnest(%s::bigint[], %s::inet[]) AS seen (key_id, address)
    JOIN accounts_apikey k ON k.id = seen.key_id
    LEFT JOIN api_keyaddress fresh ON fresh.key_id = k.id AND fresh.address = seen.address
        AND fresh.seen_at >= now() - interval '1 hour'
    WHERE fresh.key_id IS NULL
    ORDER BY k.id
    ON CONFLICT (key_id) DO UPDATE SET address = excluded.address, seen_at = excluded.seen_at
    RETURNING key_id, address)
INSERT INTO api_keynetwork AS known (key_id, network, first_seen_at, last_seen_at)
SELECT key_id, host(network(set_masklen(
    address, CASE family(address) WHEN 4 THEN 24 ELSE 48 END)))::inet, now(), now()
FROM written
ORDER BY key_id
ON CONFLICT (key_id, network) DO UPDATE SET last_seen_at = excluded.last_seen_at
WHERE known.last_seen_at < now() - interval '1 hour'
"""


class KeyAddresses(SharedCounts):
    """What this process saw since it last wrote: each key's peer and its X-Forwarded-For."""

    flush_seconds = 5.0
    unavailable_event = "key_addresses_unavailable"

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.seen: dict[int, tuple[str, bytes]] = {}

    async def flush(self) -> None:
        """Write the addresses; they are kept where that fails. Raise psycopg.Error."""
        if not self.seen:
            return
        seen, self.seen = self.seen, {}
        addresses = [
            client_address(peer, forwarded.decode("latin-1")) for peer, forwarded in seen.values()
        ]
        try:
            async with await self.connect() as connection:
                await connection.execute(_WRITE, [list(seen), addresses])
        except BaseException:
            self.seen = seen | self.seen
            raise
