"""The invariant of day roots, which `manage.py check_ledger` proves with the ledger's others."""

from collections.abc import Iterator

from billing.models import CreditAccount, DayRoot
from billing.receipts.day_roots import START_OF_CHAIN, chained, chunks_of, end_of, leaves
from billing.receipts.merkle import Tree

NAME = "I9 roots"
RULE = "a closed day's root is that of its transfers, and continues the chain of those before it"


def violations() -> Iterator[str]:
    """Yield a line for each stored root that its account's transfers contradict."""
    roots = DayRoot.objects.order_by().values("account_id").distinct()
    for account in CreditAccount.objects.filter(pk__in=roots).order_by("pk"):
        yield from _of_account(account)


def _of_account(account: CreditAccount) -> Iterator[str]:
    """Compare an account's roots with its transfers, both read once and in order."""
    found = leaves(account, 1)
    leaf = next(found, None)
    expected, chain = 1, START_OF_CHAIN
    for root in DayRoot.objects.filter(account=account).order_by("day"):
        name = f"account {account.pk}, {root.day}"
        if root.first_sequence != expected:
            yield f"{name}: begins at transfer {root.first_sequence} instead of {expected}"
        tree = Tree()
        while leaf is not None and leaf.sequence <= root.last_sequence:
            if leaf.sequence >= root.first_sequence:
                tree.add(leaf.hashed)
                if leaf.created_at >= end_of(root.day):
                    yield f"{name}: transfer {leaf.sequence} was posted later"
            leaf = next(found, None)
        if tree.size != root.size or tree.root != bytes(root.root):
            yield f"{name}: root {root.root.hex()}, of the transfers {tree.root.hex()}"
        elif tree.chunks != chunks_of(root):
            yield f"{name}: the chunks' roots are not those of the transfers"
        chain = chained(chain, root.day, bytes(root.root))
        if chain != bytes(root.chain):
            yield f"{name}: chain {root.chain.hex()} instead of {chain.hex()}"
        expected, chain = root.last_sequence + 1, bytes(root.chain)
