"""The ledger as a few dictionaries: what the SQL must come to, said as plainly as Python can."""

from dataclasses import dataclass, field
from typing import Any

from billing.gate import Admission, Settlement


@dataclass
class Account:
    """A customer's balances."""

    posted: int = 0
    held: int = 0
    sequence: int = 0

    def move(self, amount: int) -> None:
        """Posts one transfer."""
        self.posted += amount
        self.sequence += 1

    @property
    def available(self) -> int:
        """What can be spent."""
        return self.posted - self.held


@dataclass
class Key:
    """A key's limits and counters."""

    account: int
    requests_limit: int
    tokens_limit: int
    budget: int | None
    is_suspended: bool = False
    requests: int = 0
    tokens: int = 0
    spent: int = 0
    held: int = 0

    @property
    def budget_left(self) -> int | None:
        """What is left of the budget; None without one."""
        return None if self.budget is None else self.budget - self.spent - self.held


@dataclass
class Hold:
    """A reservation."""

    key: int
    amount: int
    tokens: int
    expires: bool
    state: str = "open"
    is_claimed: bool = False  # settled after it had expired
    is_of_this_minute: bool = True


@dataclass
class Model:
    """Everything, by the database's ids."""

    accounts: dict[int, Account] = field(default_factory=dict)
    keys: dict[int, Key] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    postings: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)

    def admit(self, asks: list[tuple[int, Admission]]) -> dict[str, tuple[str, int]]:
        """Returns code and amount for each request; a batch goes by account, key and id."""
        order = sorted(asks, key=lambda a: (self.keys[a[0]].account, a[0], a[1].request_id))
        return {ask.request_id: self._admit_one(key_id, ask) for key_id, ask in order}

    def _admit_one(self, key_id: int, ask: Admission) -> tuple[str, int]:
        key = self.keys[key_id]
        account = self.accounts[key.account]
        if ask.request_id in self.holds:
            return "admitted", self.holds[ask.request_id].amount
        if key.is_suspended:
            return "team_suspended", 0
        if key.requests >= key.requests_limit:
            return "rate_limited_requests", 0
        if key.tokens + ask.tokens > key.tokens_limit:
            return "rate_limited_tokens", 0
        bounds = [ask.amount_nanos, account.available]
        if key.budget_left is not None:
            bounds.append(key.budget_left)
        granted = max(0, min(bounds))
        if granted < ask.minimum_nanos:
            is_over_budget = key.budget_left is not None and key.budget_left < account.available
            return "budget_exceeded" if is_over_budget else "insufficient_quota", 0
        key.requests += 1
        key.tokens += ask.tokens
        key.held += granted
        account.held += granted
        self.holds[ask.request_id] = Hold(key_id, granted, ask.tokens, ask.hold_seconds < 0)
        return "admitted", granted

    def settle(self, ends: list[Settlement]) -> list[tuple[str, str, int, int, int]]:
        """Returns id, code, charge, write-off and balance of each settlement."""
        order = sorted(ends, key=lambda end: (end.account_id, end.key_id, end.request_id))
        return [(end.request_id, *self._settle_one(end)) for end in order]

    def _settle_one(self, end: Settlement) -> tuple[str, int, int, int]:
        account, key = self.accounts[end.account_id], self.keys[end.key_id]
        hold = self.holds.get(end.request_id)
        if hold is None or self.keys[hold.key].account != end.account_id:
            return "unknown_reservation", 0, 0, account.posted
        cost = end.input_nanos + end.output_nanos
        if hold.state == "open":
            code = hold.state = "settled" if cost or end.source != "none" else "released"
            account.held -= hold.amount
            key.held -= hold.amount
            if hold.is_of_this_minute:
                correction = end.input_tokens + end.output_tokens - hold.tokens
                key.tokens = max(0, key.tokens + correction)
        elif hold.state == "expired" and not hold.is_claimed:
            code, hold.is_claimed = "late", True
        else:
            return "already_ended", 0, 0, account.posted
        charge = min(cost, account.available)
        if charge:
            account.move(-charge)
            key.spent += charge
        return code, charge, cost - charge, account.posted

    def sweep(self) -> int:
        """Ends what has expired; returns how many."""
        due = [hold for hold in self.holds.values() if hold.state == "open" and hold.expires]
        for hold in due:
            hold.state = "expired"
            self.keys[hold.key].held -= hold.amount
            self.accounts[self.keys[hold.key].account].held -= hold.amount
        return len(due)

    def post(self, kind: str, reference: str, account_id: int, amount: int) -> str:
        """Returns the posting's code."""
        account = self.accounts[account_id]
        earlier = self.postings.get((kind, reference))
        if earlier is not None:
            same = earlier == (account_id, amount)
            return "exists" if same else "exists_with_different_fields"
        if amount < 0 and account.available < -amount:
            return "exceeds_credits"
        account.move(amount)
        self.postings[kind, reference] = (account_id, amount)
        return "posted"

    def claw_back(self, reference: str, account_id: int, amount: int) -> tuple[str, int, int]:
        """Returns code, what is taken, and what is owed."""
        account = self.accounts[account_id]
        earlier = self.postings.get(("clawback", reference))
        if earlier is not None:
            if earlier[:2] != (account_id, amount):
                return "exists_with_different_fields", 0, 0
            return ("exists", *earlier[2:])
        taken = min(amount, account.available)
        if taken:
            account.move(-taken)
        self.postings["clawback", reference] = (account_id, amount, taken, amount - taken)
        return "posted", taken, amount - taken

    def next_minute(self) -> None:
        """Begins every key's minute anew."""
        for key in self.keys.values():
            key.requests = key.tokens = 0
        for hold in self.holds.values():
            hold.is_of_this_minute = False
