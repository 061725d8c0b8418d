"""What members are told by e-mail without asking: low balances, budgets, new keys, auto top-up."""

from portal.notices.rounds import send_due

__all__ = ["send_due"]
