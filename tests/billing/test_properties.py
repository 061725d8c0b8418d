"""Whatever happens in whatever order, the ledger is what the model says, to the nano."""

from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from accounts.models import ApiKey, Team
from billing.ledger import expiry, postings
from billing.ledger.extension import Extension, ExtensionResult
from billing.ledger.gate import Settlement
from billing.models import CreditAccount, ProcessLease, RateWindow, Reservation
from billing.usage.lots import lots_left
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import (
    Customer,
    admit,
    call,
    code_of,
    counters_of,
    make_customer,
    outcome_of,
    settle,
    sweep,
)
from tests.billing.ledger_model import Account, Key, Model

AMOUNTS = st.integers(0, 400)
KEYS = st.integers(0, 2)
REFERENCES = st.sampled_from(["one", "two", "three"])
# Of which key, amount, minimum, tokens; whether it expires at once; whether a job; which lease.
ASKS = st.tuples(
    *(KEYS, AMOUNTS, st.integers(0, 400), st.integers(0, 60)),
    *(st.booleans(), st.integers(0, 4).map(lambda one: one == 0), st.sampled_from([None, 0, 1])),
)
ENDS = st.tuples(AMOUNTS, st.integers(0, 50), st.sampled_from(["upstream", "estimated", "none"]))
POSTS = {"grant": postings.grant, "top_up": postings.top_up}
REVERSALS = {"refund": postings.reverse_refund, "clawback": postings.reverse_claw_back}


class LedgerAndModel(RuleBasedStateMachine):
    """Drives both alike: two teams, three keys, of which two share an account."""

    requests = Bundle("requests")

    @initialize()
    def _begin(self) -> None:
        self.savepoint = transaction.savepoint()
        self.now = timezone.now()
        first = make_customer(budget_total_nanos=900)
        second = make_customer(requests_per_minute=6, tokens_per_minute=100)
        second.change_team(concurrent_requests=3)
        self.leases = [
            ProcessLease.objects.create(process="test", started_at=self.now, renewed_at=self.now).pk
            for _ in range(2)
        ]
        self.keys: list[Customer] = [first, first.another_key(), second]
        self.model = Model(
            accounts={customer.account.pk: Account() for customer in (first, second)},
            keys={
                customer.key.pk: Key(
                    customer.account.pk,
                    customer.key.requests_per_minute,
                    customer.key.tokens_per_minute,
                    customer.key.budget_total_nanos,
                )
                for customer in self.keys
            },
        )
        self.model.accounts[second.account.pk].calls_limit = 3
        self.ids = count(1)
        self.prefix = self.new_id()
        for customer in (first, second):
            self.grant(customer, 1000)

    def new_id(self) -> str:
        """Return the example's next id: in no order, but not from chance, so that it repeats."""
        return str(UUID(bytes=sha256(b"%d" % next(self.ids)).digest()[:16]))

    def grant(self, customer: Customer, amount: int) -> None:
        """Give credits under a reference of their own."""
        reference = self.new_id()
        postings.grant(customer.account, amount, reference=reference)
        self.model.post("grant", reference, customer.account.pk, amount)

    def teardown(self) -> None:
        """Prove the books, and take back what happened."""
        if not hasattr(self, "savepoint"):
            return
        try:
            expiry.expire_lots()  # none is left past its expiry, which is an invariant too
            assert broken_invariants() == {}
        finally:
            transaction.savepoint_rollback(self.savepoint)

    @rule(target=requests, asks=st.lists(ASKS, min_size=1, max_size=5))
    def admit(self, asks: list[Any]) -> Any:
        """Admit a batch."""
        batch = []
        for which, amount, minimum, tokens, expires, is_job, lease in asks:
            customer = self.keys[which]
            ask = customer.ask(
                request_id=self.new_id(),
                amount_nanos=amount,
                minimum_nanos=min(minimum, amount),
                tokens=tokens,
                hold_seconds=-1 if expires else 600,
                is_job=is_job,
                lease_id=None if lease is None or is_job else self.leases[lease],
            )
            batch.append((customer.key.pk, ask))
        self.expect_admission(batch)
        return multiple(*[(key_id, ask) for key_id, ask in batch])

    @rule(again=st.lists(requests, min_size=1, max_size=3))
    def admit_again(self, again: list[Any]) -> None:
        """Repeat admissions, as after a lost answer: some in one batch, some twice in it."""
        self.expect_admission(again)

    def expect_admission(self, batch: list[Any]) -> None:
        """Admit, and compares the admissions."""
        expected = self.model.admit(batch)
        admissions = admit(*[ask for _, ask in batch])
        found = [(admission.code, admission.amount_nanos) for admission in admissions]
        assert found == [expected[ask.request_id] for _, ask in batch]

    def end(self, key_id: int, request_id: str, cost: int, tokens: int, source: str) -> Settlement:
        """Return the end of a request."""
        customer = next(customer for customer in self.keys if customer.key.pk == key_id)
        return customer.end(
            request_id,
            input_nanos=cost // 3,
            output_nanos=cost - cost // 3,
            output_tokens=tokens,
            source="upstream" if cost else source,
        )

    @rule(which=st.lists(requests, min_size=1, max_size=5), how=st.lists(ENDS, min_size=5))
    def settle(self, which: list[Any], how: list[Any]) -> None:
        """Settle a batch: open, ended or refused requests, some of them twice.

        Repeats in one batch say the same: which of them is first, the ledger leaves open.
        """
        ends = {
            ask.request_id: self.end(key_id, ask.request_id, *end)
            for (key_id, ask), end in zip(which, how, strict=False)
        }
        self.expect_settlement([ends[ask.request_id] for _, ask in which])

    @rule(which=KEYS, how=ENDS)
    def settle_unknown(self, which: int, how: Any) -> None:
        """Settle a request that nobody admitted."""
        self.expect_settlement([self.end(self.keys[which].key.pk, self.new_id(), *how)])

    def expect_settlement(self, ends: list[Settlement]) -> None:
        """Settle, and compares the receipts."""
        expected = self.model.settle(ends)
        receipts = settle(*ends)
        assert [
            (r.request_id, r.code, r.charged_nanos, r.written_off_nanos, r.balance_nanos)
            for r in receipts
        ] == expected

    @rule(which=st.lists(st.tuples(requests, st.integers(0, 120)), min_size=1, max_size=4))
    def grow(self, which: list[Any]) -> None:
        """Report the tokens so far of requests that are open, have ended or were refused."""
        reports = [(ask.request_id, tokens) for (_, ask), tokens in which]
        accounts = {ask.request_id: self.model.keys[key_id].account for (key_id, ask), _ in which}
        expected = self.model.grow(reports)
        rows = [
            {"request_id": request_id, "account_id": accounts[request_id], "tokens": tokens}
            for request_id, tokens in reports
        ]
        assert {each["request_id"] for each in call("count_growth", rows, dict)} == expected

    @rule(which=st.lists(st.tuples(requests, AMOUNTS, AMOUNTS, st.integers(0, 120)), min_size=1))
    def extend(self, which: list[Any]) -> None:
        """Extend the holds of requests that are open, have ended or were refused."""
        rows = []
        for (key_id, ask), amount, least, tokens in which:
            row = Extension(request_id=ask.request_id, account_id=self.model.keys[key_id].account)
            row.amount_nanos, row.minimum_nanos, row.tokens = amount, min(least, amount), tokens
            rows.append(row)
        expected = self.model.extend(rows)
        answers = call("extend", rows, ExtensionResult)
        assert [(each.request_id, each.code, each.amount_nanos) for each in answers] == expected

    @rule(which=st.integers(0, 1))
    def end_lease(self, which: int) -> None:
        """Let a process be dead, and have a new one take its place.

        The clock stands still, so what the old one admitted was just before.
        """
        dead = self.leases[which]
        ProcessLease.objects.filter(pk=dead).update(ended_at=self.now + timedelta(seconds=1))
        self.model.dead_leases.add(dead)
        self.leases[which] = ProcessLease.objects.create(
            process="test", started_at=self.now, renewed_at=self.now
        ).pk

    @rule()
    def sweep(self) -> None:
        """End what has expired."""
        assert sweep() == self.model.sweep()

    @rule(
        kind=st.sampled_from(sorted(POSTS)),
        reference=REFERENCES,
        which=KEYS,
        amount=st.sampled_from([1, 70, 300, 2000]),
    )
    def post(self, kind: str, reference: str, which: int, amount: int) -> None:
        """Post, under a reference that may be in use."""
        account = self.keys[which].account
        reference = f"{self.prefix} {reference}"
        expected = self.model.post(kind, reference, account.pk, amount)
        assert code_of(POSTS[kind], account, amount, reference=reference) == expected

    @rule(which=KEYS, amount=st.sampled_from([1, 90, 400]), hours=st.integers(-2, 2))
    def grant_for_a_time(self, which: int, amount: int, hours: int) -> None:
        """Give credits that expire, or have expired already."""
        account, reference = self.keys[which].account, self.new_id()
        self.model.post("grant", reference, account.pk, amount, hours)
        expires_at = self.now + timedelta(hours=hours, seconds=1)
        postings.grant(account, amount, reference=reference, expires_at=expires_at)

    @rule()
    def expire(self) -> None:
        """Take back what has expired, of these accounts and of nobody else."""
        assert expiry.expire_lots() == self.model.expire()

    @rule(
        reference=REFERENCES,
        which=KEYS,
        amount=st.integers(-500, 500).filter(lambda amount: amount),
    )
    def adjust(self, reference: str, which: int, amount: int) -> None:
        """Correct a balance either way."""
        account = self.keys[which].account
        reference = f"{self.prefix} {reference}"
        expected = self.model.post("adjustment", reference, account.pk, amount)
        assert code_of(postings.adjust, account, amount, reference=reference, memo="") == expected

    @rule(
        kind=st.sampled_from(["refund", "forced", "clawback"]),
        reference=REFERENCES,
        which=KEYS,
        amount=st.sampled_from([1, 250, 5000]),
        credit=st.builds(postings.Credit, st.sampled_from(["top_up", "grant"]), REFERENCES),
    )
    def take_back(
        self, kind: str, reference: str, which: int, amount: int, credit: postings.Credit
    ) -> None:
        """Take back what a payment gave: bought credits, or the gift that came with a plan."""
        account = self.keys[which].account
        reference = f"{self.prefix} {reference}"
        credit = replace(credit, reference=f"{self.prefix} {credit.reference}")
        how: dict[str, Any] = {"reference": reference, "credit": credit}
        how |= {"is_forced": kind == "forced"} if kind != "clawback" else {}
        function = postings.claw_back if kind == "clawback" else postings.refund
        expected = self.model.take_back(
            "clawback" if kind == "clawback" else "refund",
            reference,
            account.pk,
            amount,
            f"{credit.kind} {credit.reference}",
            is_bold=kind != "refund",
        )
        assert outcome_of(function, account, amount, **how) == expected

    @rule(
        reference=REFERENCES,
        which=KEYS,
        amount=st.sampled_from([1, 250, 5000]),
        grant=REFERENCES,
        most_owed=st.sampled_from([0, 30, 5000]),
    )
    def take_back_grant(
        self, reference: str, which: int, amount: int, grant: str, most_owed: int
    ) -> None:
        """Take back the gift that came with a plan's payment."""
        account = self.keys[which].account
        reference, grant = f"{self.prefix} {reference}", f"{self.prefix} {grant}"
        expected = self.model.take_back_grant(reference, account.pk, amount, grant, most_owed)
        named = {"reference": reference, "grant_reference": grant, "most_owed_nanos": most_owed}
        assert outcome_of(postings.take_back_grant, account, amount, **named) == expected

    @rule(kind=st.sampled_from(sorted(REVERSALS)), reference=REFERENCES, which=KEYS)
    def reverse(self, kind: str, reference: str, which: int) -> None:
        """Give back what was taken back."""
        account = self.keys[which].account
        reference = f"{self.prefix} {reference}"
        expected = self.model.reverse(kind, reference, account.pk)
        assert outcome_of(REVERSALS[kind], account, reference=reference) == expected

    @rule(reference=REFERENCES, which=KEYS, up_to=st.sampled_from([1, 40, 200, 5000]))
    def reverse_a_part(self, reference: str, which: int, up_to: int) -> None:
        """Give back a part of what a dispute took, as where it is won in part."""
        account = self.keys[which].account
        reference = f"{self.prefix} {reference}"
        expected = self.model.reverse("clawback", reference, account.pk, up_to)
        named = {"reference": reference, "up_to_nanos": up_to}
        assert outcome_of(postings.reverse_claw_back, account, **named) == expected

    @rule(reference=REFERENCES, which=KEYS)
    def collect(self, reference: str, which: int) -> None:
        """Take what a claw-back left owing."""
        account = self.keys[which].account
        reference = f"{self.prefix} {reference}"
        expected = self.model.collect(reference, account.pk)
        assert outcome_of(postings.collect, account, reference=reference)[:2] == expected

    @rule(which=KEYS, budget=st.none() | st.integers(0, 1500))
    def change_budget(self, which: int, budget: int | None) -> None:
        """Give a key another budget, maybe below what it has spent."""
        key = self.keys[which].key
        ApiKey.objects.filter(pk=key.pk).update(budget_total_nanos=budget)
        self.model.keys[key.pk].budget = budget

    @rule(is_suspended=st.booleans())
    def suspend(self, is_suspended: bool) -> None:
        """Suspend the second team, or let it back in."""
        customer = self.keys[2]
        since = timezone.now() if is_suspended else None
        Team.objects.filter(pk=customer.team.pk).update(suspended_at=since)
        self.model.keys[customer.key.pk].is_suspended = is_suspended

    @rule()
    def next_minute(self) -> None:
        """Let a minute pass. (In one transaction the database's clock stands still.)"""
        keys = list(self.model.keys)
        minute = timedelta(seconds=61)
        RateWindow.objects.filter(key__in=keys).update(started_at=F("started_at") - minute)
        Reservation.objects.filter(key__in=keys, state="open").update(
            window_started_at=F("window_started_at") - minute
        )
        self.model.next_minute()

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        """Compare balances, counters and states."""
        accounts = CreditAccount.objects.filter(pk__in=self.model.accounts)
        assert {
            pk: balances
            for pk, *balances in accounts.values_list(
                "pk", "posted_nanos", "held_nanos", "open_calls", "last_sequence"
            )
        } == {
            pk: [a.posted, a.held, a.open_calls, a.sequence]
            for pk, a in self.model.accounts.items()
        }
        states = Reservation.objects.filter(key__in=self.model.keys)
        assert {str(pk): state for pk, state in states.values_list("pk", "state")} == {
            request_id: hold.state for request_id, hold in self.model.holds.items()
        }
        self.counters_are_as_the_model_says()
        for customer in self.keys:
            lots = [(lot.is_paid, lot.left_nanos) for lot in lots_left(customer.account)]
            assert lots == self.model.accounts[customer.account.pk].left

    def counters_are_as_the_model_says(self) -> None:
        """Compare the keys' budgets and minutes."""
        keys = self.model.keys
        spends, windows = counters_of(keys)
        nothing = dict.fromkeys(keys, (0, 0))
        assert nothing | spends == {pk: (key.spent, key.held) for pk, key in keys.items()}
        assert nothing | windows == {pk: (key.requests, key.tokens) for pk, key in keys.items()}


@pytest.mark.django_db
def test_the_ledger_is_what_the_model_says() -> None:
    run_state_machine_as_test(
        LedgerAndModel,
        settings=settings(
            max_examples=settings.default.max_examples // 2,
            stateful_step_count=30,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
