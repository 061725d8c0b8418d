"""The ledger as a few dictionaries: what the SQL must come to, said as plainly as Python can."""

from dataclasses import dataclass, field

from billing.ledger.extension import Extension
from billing.ledger.gate import Admission, Settlement
from tests.billing.lot_model import Draws, Lot, draw


@dataclass
class Account:
    """A customer's balances. The lots' sum is what is posted, at any moment."""

    posted: int = 0
    held: int = 0
    open_calls: int = 0
    calls_limit: int = 1_000_000
    sequence: int = 0
    lots: list[Lot] = field(default_factory=list)

    def move(self, amount: int) -> None:
        """Post one transfer."""
        self.posted += amount
        self.sequence += 1

    def give(self, amount: int, lot: Lot) -> None:
        """Post a credit, which is a lot."""
        self.move(amount)
        self.lots.append(lot)

    def spend(self, amount: int) -> Draws:
        """Post a debit: gifts go first, the nearest expiry before others."""
        self.move(-amount)
        return draw(sorted(self.lots, key=lambda lot: lot.turn), amount)

    def give_back(self, amount: int, credit: str) -> Draws:
        """Post what goes back: from the lot of its credit, then from what would be spent last."""
        self.move(-amount)
        queue = sorted(self.lots, key=lambda lot: lot.turn)[::-1]
        return draw(sorted(queue, key=lambda lot: lot.reference != credit), amount)

    def restore(self, amount: int, drawn: Draws) -> None:
        """Post what comes back, to the lots it was drawn from: payments first, then gifts."""
        self.move(amount)
        queue = sorted(self.lots, key=lambda lot: lot.turn)[::-1]
        for lot in queue:
            back = min(amount, sum(nanos for other, nanos in drawn if other is lot))
            lot.left += back
            amount -= back
            if back:
                drawn.append((lot, -back))
        assert amount == 0

    @property
    def available(self) -> int:
        """What can be spent."""
        return self.posted - self.held

    def refundable(self, credit: str) -> int:
        """Return what is left of payments, and of the credit itself."""
        return sum(lot.left for lot in self.lots if lot.is_paid or lot.reference == credit)

    @property
    def left(self) -> list[tuple[bool, int]]:
        """What is left of each lot, in the order of spending."""
        queue = sorted(self.lots, key=lambda lot: lot.turn)
        return [(lot.is_paid, lot.left) for lot in queue if lot.left]


@dataclass
class TakeBack:
    """A refund or a claw-back, and what became of it."""

    account: int
    amount: int
    taken: int
    missing: int
    drawn: Draws
    collected: int = 0
    restored: int = 0
    ended: int = 0

    @property
    def owed(self) -> int:
        """What is owed and not collected."""
        return self.missing - self.ended - self.collected

    @property
    def is_undone(self) -> bool:
        """Whether all of it has been undone."""
        return self.restored + self.ended == self.taken + self.missing


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
    has_minute: bool = False
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
    is_call: bool = True
    lease: int | None = None
    state: str = "open"
    is_claimed: bool = False  # settled after it had expired
    is_of_this_minute: bool = True


@dataclass
class Model:
    """Everything, by the database's ids."""

    accounts: dict[int, Account] = field(default_factory=dict)
    keys: dict[int, Key] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    postings: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    taken_back: dict[tuple[str, str], TakeBack] = field(default_factory=dict)
    dead_leases: set[int] = field(default_factory=set)

    def admit(self, asks: list[tuple[int, Admission]]) -> dict[str, tuple[str, int]]:
        """Return code and amount for each request; a batch goes by account, key and id."""
        order = sorted(asks, key=lambda a: (self.keys[a[0]].account, a[0], a[1].request_id))
        return {ask.request_id: self._admit_one(key_id, ask) for key_id, ask in order}

    def _admit_one(self, key_id: int, ask: Admission) -> tuple[str, int]:
        key = self.keys[key_id]
        account = self.accounts[key.account]
        if ask.request_id in self.holds:
            return "admitted", self.holds[ask.request_id].amount
        if key.is_suspended:
            return "team_suspended", 0
        if not ask.is_job and account.open_calls >= account.calls_limit:
            return "too_many_calls", 0
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
        key.has_minute = True
        key.tokens += ask.tokens
        key.held += granted
        account.held += granted
        account.open_calls += not ask.is_job
        self.holds[ask.request_id] = Hold(
            key_id,
            granted,
            ask.tokens,
            expires=ask.hold_seconds < 0,
            is_call=not ask.is_job,
            lease=ask.lease_id,
        )
        return "admitted", granted

    def settle(self, ends: list[Settlement]) -> list[tuple[str, str, int, int, int]]:
        """Return id, code, charge, write-off and balance of each settlement."""
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
            account.open_calls -= hold.is_call
            key.held -= hold.amount
            correction = end.input_tokens + end.output_tokens - hold.tokens
            if hold.is_of_this_minute:
                key.tokens = max(0, key.tokens + correction)
            elif key.has_minute:
                key.tokens += max(0, correction)
        elif hold.state == "expired" and not hold.is_claimed:
            code, hold.is_claimed = "late", True
        else:
            return "already_ended", 0, 0, account.posted
        charge = min(cost, account.available)
        if charge:
            account.spend(charge)
            key.spent += charge
        return code, charge, cost - charge, account.posted

    def sweep(self) -> int:
        """End what has expired; return how many."""
        due = [
            hold
            for hold in self.holds.values()
            if hold.state == "open" and (hold.expires or hold.lease in self.dead_leases)
        ]
        for hold in due:
            hold.state = "expired"
            self.keys[hold.key].held -= hold.amount
            account = self.accounts[self.keys[hold.key].account]
            account.held -= hold.amount
            account.open_calls -= hold.is_call
        return len(due)

    def grow(self, reports: list[tuple[str, int]]) -> set[str]:
        """Count the tokens of requests so far; return those of which some were new."""
        most: dict[str, int] = {}
        for request_id, tokens in reports:
            most[request_id] = max(tokens, most.get(request_id, 0))
        counted = set()
        for request_id, tokens in most.items():
            hold = self.holds.get(request_id)
            if hold is not None and hold.state == "open" and tokens > hold.tokens:
                key = self.keys[hold.key]
                key.tokens += tokens - hold.tokens
                key.has_minute = hold.is_of_this_minute = True
                hold.tokens = tokens
                counted.add(request_id)
        return counted

    def extend(self, asks: list[Extension]) -> list[tuple[str, str, int]]:
        """Return id, code and hold of each.

        A batch goes by account, key, id and amount; what is no open reservation comes last.
        """

        def order(ask: Extension) -> tuple[object, ...]:
            hold = self.holds.get(ask.request_id)
            key_id = hold.key if hold is not None and hold.state == "open" else None
            return ask.account_id, key_id is None, key_id or 0, ask.request_id, ask.amount_nanos

        results = [(ask.request_id, *self._extend_one(ask)) for ask in sorted(asks, key=order)]
        going_on = {request_id for request_id, code, _ in results if code == "extended"}
        self.grow([(ask.request_id, ask.tokens) for ask in asks if ask.request_id in going_on])
        return results

    def _extend_one(self, ask: Extension) -> tuple[str, int]:
        hold = self.holds.get(ask.request_id)
        if hold is None or hold.state != "open":
            return "ended", 0
        key = self.keys[hold.key]
        account = self.accounts[key.account]
        bounds = [ask.amount_nanos - hold.amount, account.available]
        if key.budget_left is not None:
            bounds.append(key.budget_left)
        added = max(0, min(bounds))
        if hold.amount + added < ask.minimum_nanos:
            is_over_budget = key.budget_left is not None and key.budget_left < account.available
            return "budget_exceeded" if is_over_budget else "insufficient_quota", hold.amount
        hold.amount += added
        key.held += added
        account.held += added
        return "extended", hold.amount

    def post(
        self, kind: str, reference: str, account_id: int, amount: int, expires: int | None = None
    ) -> str:
        """Return the posting's code."""
        account = self.accounts[account_id]
        earlier = self.postings.get((kind, reference))
        if earlier is not None:
            same = earlier == (account_id, amount)
            return "exists" if same else "exists_with_different_fields"
        if amount < 0:
            if account.available < -amount:
                return "exceeds_credits"
            account.spend(-amount)
        else:
            is_paid = kind == "top_up"
            account.give(amount, Lot(f"{kind} {reference}", is_paid, amount, expires))
        self.postings[kind, reference] = (account_id, amount)
        return "posted"

    def take_back(
        self, kind: str, reference: str, account_id: int, amount: int, credit: str, is_bold: bool
    ) -> tuple[str, int, int]:
        """Return code, what is taken, and the shortfall; a bold one may fall short.

        `credit` is the kind and the reference of the transfer that gave the credits.
        """
        account = self.accounts[account_id]
        earlier = self.taken_back.get((kind, reference))
        if earlier is not None:
            if (earlier.account, earlier.amount) != (account_id, amount):
                return "exists_with_different_fields", 0, 0
            return "exists", earlier.taken, earlier.missing
        taken = min(amount, account.available)
        if not is_bold and min(taken, account.refundable(credit)) < amount:
            return "exceeds_credits", 0, 0
        drawn = account.give_back(taken, credit) if taken else []
        self.taken_back[kind, reference] = TakeBack(
            account_id, amount, taken, amount - taken, drawn
        )
        return "posted", taken, amount - taken

    def take_back_grant(
        self, reference: str, account_id: int, amount: int, grant: str, most_owed: int
    ) -> tuple[str, int, int]:
        """Return code, what is taken of that grant and no other lot, and what is owed."""
        earlier = self.taken_back.get(("clawback", reference))
        if earlier is not None:
            is_within = earlier.amount <= amount and earlier.missing <= most_owed
            if earlier.account != account_id or not is_within:
                return "exists_with_different_fields", 0, 0
            return "exists", earlier.taken, earlier.missing
        account = self.accounts[account_id]
        lots = [lot for lot in account.lots if lot.reference == f"grant {grant}"]
        left, lasting = (sum(lot.left for lot in lots), sum(lot.lasting for lot in lots))
        taken = min(amount, left, account.available)
        owed = min(min(amount, lasting) - taken, most_owed)
        if taken + owed:
            drawn = account.give_back(taken, f"grant {grant}") if taken else []
            self.taken_back["clawback", reference] = TakeBack(
                account_id, taken + owed, taken, owed, drawn
            )
        return "posted", taken, owed

    def reverse(
        self, kind: str, reference: str, account_id: int, up_to: int | None = None
    ) -> tuple[str, int, int]:
        """Return code, what the customer gets, and the shortfall that ends."""
        before = self.taken_back.get((kind, reference))
        if before is None or before.account != account_id:
            return "unknown", 0, 0
        whole = before.taken + before.missing
        part = min(whole if up_to is None else up_to, whole) - before.restored - before.ended
        if part <= 0:
            return "exists", before.restored, before.ended
        ending = min(part, before.owed)
        if part > ending:
            self.accounts[account_id].restore(part - ending, before.drawn)
        before.restored += part - ending
        before.ended += ending
        return "posted", part - ending, ending

    def collect(self, reference: str, account_id: int) -> tuple[str, int]:
        """Return code, and what is collected."""
        before = self.taken_back.get(("clawback", reference))
        if before is None or before.account != account_id or before.is_undone:
            return "unknown", 0
        if before.collected:
            return "exists", before.collected
        if not before.owed:
            return "unknown", 0
        if self.accounts[account_id].available < before.owed:
            return "exceeds_credits", 0
        before.drawn += self.accounts[account_id].spend(before.owed)
        before.collected = before.owed
        return "posted", before.collected

    def expire(self) -> int:
        """Take back what is left of gifts that have expired; return how many it took from."""
        transfers = 0
        for account in self.accounts.values():
            for lot in sorted(account.lots, key=lambda lot: lot.turn):
                taken = min(lot.left, account.available)
                if lot.expires is not None and lot.expires < 0 and taken > 0:
                    account.move(-taken)
                    lot.left -= taken
                    lot.lasting -= taken
                    transfers += 1
        return transfers

    def next_minute(self) -> None:
        """Begin every key's minute anew."""
        for key in self.keys.values():
            key.requests = key.tokens = 0
            key.has_minute = False
        for hold in self.holds.values():
            hold.is_of_this_minute = False
