"""Mutants of what gives money back: reversals, disputes, refunds, promotions, reconciliation."""

from tests.mutation.mutant import CARRY, GIVE_BACK, LOTS, mutant

DISPUTES, ORDERS, PLANS, PROMOTIONS, RECONCILIATION = (
    f"billing/payments/{name}.py"
    for name in ("disputes", "orders", "plan_reversals", "promotions", "reconciliation")
)

MANUAL = "billing/payments/manual_postings.py"
CORRECTIONS, STATEMENTS = (
    f"billing/reconciliation/{name}.py" for name in ("corrections", "statements")
)

PAYMENT_MUTANTS = [
    mutant(
        "a request's estimate is corrected once",
        CORRECTIONS,
        "    if not is_new:\n",
        "    if False:\n",
        "test_usage_corrections.py"
        "::test_two_lines_of_one_request_that_are_corrected_at_once_correct_it_once",
    ),
    mutant(
        "a worker posts only what was confirmed",
        CORRECTIONS,
        "            if not confirmed.exists():\n",
        "            if False:\n",
        "test_usage_corrections.py"
        "::test_a_worker_that_is_late_posts_nothing_that_was_not_confirmed",
    ),
    mutant(
        "only what was estimated is corrected",
        CORRECTIONS,
        "not used <= _CORRECTABLE or record.source != UsageRecord.Source.ESTIMATED",
        "not used <= _CORRECTABLE",
        "test_usage_corrections.py::test_only_estimated_tokens_have_a_correction",
    ),
    mutant(
        "a correction charges no more than was held",
        CORRECTIONS,
        "min(charge_nanos, record.reserved_nanos)",
        "charge_nanos",
        "test_usage_corrections.py::test_no_more_is_charged_than_was_held",
    ),
    mutant(
        "what was written off isn't charged later",
        CORRECTIONS,
        "    if record.written_off_nanos:\n",
        "    if False:\n",
        "test_usage_corrections.py::test_only_estimated_tokens_have_a_correction",
    ),
    mutant(
        "corrections are those that a person saw",
        STATEMENTS,
        "statement.state != State.READY or statement.compared_at != compared_at:",
        "statement.state != State.READY:",
        "test_usage_corrections.py::test_a_confirmation_is_for_what_the_person_saw",
    ),
    mutant(
        "large corrections need a second person",
        STATEMENTS,
        "needs_approval(sums.moved_nanos) and statement.uploaded_by_id == user.pk",
        "False",
        "test_usage_corrections.py"
        "::test_large_corrections_need_another_person_than_the_one_who_uploaded",
    ),
    mutant(
        "staff don't confirm what they requested",
        MANUAL,
        "if not is_second_person(user, posting.requested_by_id):",
        "if False:",
        "payments/test_manual_postings.py::test_a_large_posting_waits_for_another_person",
    ),
    mutant(
        "an amount that is taken needs a second person too",
        MANUAL,
        "return abs(amount_nanos) >",
        "return amount_nanos >",
        "payments/test_manual_postings.py::test_a_large_amount_that_is_taken_waits_too",
    ),
    mutant(
        "a form of staff is compared with its posting",
        MANUAL,
        "if (earlier.team_id, earlier.kind, earlier.amount_nanos) != given:",
        "if False:",
        "payments/test_manual_postings.py::test_a_form_that_is_sent_twice_is_one_posting",
        "payments/test_manual_postings.py::test_a_form_of_one_team_is_not_one_of_another",
    ),
    mutant(
        "a confirmed refund has its posting's id",
        MANUAL,
        "            refund_id=posting.pk,\n",
        "",
        "payments/test_manual_postings.py"
        "::test_a_process_that_dies_after_a_confirmed_refund_makes_it_once",
    ),
    mutant(
        "a repeat of what was taken of a grant is compared",
        GIVE_BACK,
        "earlier.is_same AND earlier.taken + earlier.owed <= amount\n"
        "                      AND earlier.owed <= most_owed\n",
        "earlier.is_same\n",
        "test_claw_back.py::test_a_repeat_that_could_not_have_taken_as_much_of_a_grant_is_refused",
    ),
    mutant(
        "what staff gave and the team has spent is taken from later credits",
        DISPUTES,
        "        if nanos <= 0:\n            return False\n        try:",
        "        if nanos <= 0 or not withheld_nanos:\n            return False\n        try:",
        "payments/test_disputes_won_in_part.py"
        "::test_what_staff_gave_and_the_team_has_spent_is_taken_from_later_credits",
    ),
    mutant(
        "what is undone returns to the lots that it was drawn from",
        LOTS,
        "GROUP BY lot_id HAVING sum(amount_nanos) < 0",
        "GROUP BY lot_id HAVING false",
        "test_reversals.py::test_a_won_dispute_gives_a_gift_back_as_the_gift_it_was",
        "test_reversals.py::test_a_failed_refund_returns_each_kind_to_its_lots",
        "test_reversals.py::test_what_a_debt_was_collected_from_gets_it_back",
        "test_properties.py::test_the_ledger_is_what_the_model_says",
    ),
    mutant(
        "a part that was undone counts toward the next one",
        GIVE_BACK,
        "(target, before.taken + before.missing) - before.restored - before.ended;",
        "(target, before.taken + before.missing - before.restored - before.ended);",
        "test_reversals.py::test_a_part_that_is_won_ends_what_is_owed_before_it_gives_back",
        "test_reversals.py::test_a_hundred_parts_at_once_add_up_to_the_largest",
    ),
    mutant(
        "a part that is won ends the debt first",
        GIVE_BACK,
        "    ending := least(part, before.missing - before.collected - before.ended);\n",
        "    ending := least(0, part);\n",
        "test_reversals.py::test_after_a_part_was_won_only_the_rest_is_collected",
    ),
    mutant(
        "a plan's dispute takes no other credit than its grant",
        GIVE_BACK,
        "least(amount, lot.remaining, account.posted_nanos",
        "least(amount, account.posted_nanos",
        "test_claw_back.py::test_a_plans_grant_is_taken_back_to_where_it_came_from_and_no_other_credit",
        "test_properties.py::test_the_ledger_is_what_the_model_says",
    ),
    mutant(
        "what a plan's dispute leaves owing is at most its price",
        GIVE_BACK,
        "least(least(amount, lot.lasting) - taken, most_owed)",
        "least(amount, lot.lasting) - taken",
        "test_claw_back.py::test_what_was_spent_of_the_grant_is_owed_up_to_the_price",
    ),
    mutant(
        "the guard of the lots' movements",
        LOTS,
        "BEFORE UPDATE OR DELETE ON billing_lotmovement FOR EACH ROW",
        "BEFORE UPDATE OR DELETE ON billing_lotmovement FOR EACH STATEMENT WHEN (false)",
        "test_reversals.py::test_a_movement_of_a_lot_is_never_changed",
    ),
    mutant(
        "staff's correction is taken back from what Stripe returns",
        DISPUTES,
        "nanos = min(dispute.corrected_nanos, returned_nanos, account.available_nanos)",
        "nanos = 0",
        "payments/test_disputes_won_in_part.py::"
        "test_what_staff_gave_ahead_of_stripe_is_not_given_twice",
    ),
    mutant(
        "a dispute of a plan moves revenue",
        PLANS,
        "    if revenue_nanos > 0:\n        postings.reverse_subscription(",
        "    if revenue_nanos < 0:\n        postings.reverse_subscription(",
        "payments/test_plan_reversals.py::"
        "test_a_dispute_moves_revenue_takes_the_grant_and_leaves_the_rest_owing",
    ),
    mutant(
        "reconciliation compares the ledger with Stripe, not with our row",
        RECONCILIATION,
        "    if _is_without_tax(nanos, entry.stripe_cents, entry):\n",
        "    if entry.stripe_cents == entry.books_cents:\n",
        "payments/test_plan_reversals.py::test_reconciliation_does_not_believe_our_own_row",
    ),
    mutant(
        "a rotation carries the spend of the budgets",
        "accounts/api_keys.py",
        "        key_rotated.send(sender=ApiKey, key=old, successor=new)\n",
        "",
        "test_carry_spend.py::test_a_successor_has_what_the_budget_had_left",
    ),
    mutant(
        "the account lock of a rotation's carry",
        CARRY,
        "WHERE k.id = from_key FOR NO KEY UPDATE OF a;",
        "WHERE k.id = from_key;",
        "test_carry_spend.py::test_it_waits_for_a_settlement_that_is_under_way",
    ),
    mutant(
        "a code is redeemed once a mailbox",
        PROMOTIONS,
        "Q(user=actor.user) | Q(mailbox_digest__in=known_digests(actor.user.email))",
        "Q(user=actor.user)",
        "payments/test_codes.py::test_a_mailbox_is_known_by_an_older_secret_key",
    ),
    mutant(
        "referral credit is taken back with its payment",
        PROMOTIONS,
        "refundable_part(order).amount_cents * NANOS_PER_CENT < given_nanos",
        "False",
        "payments/test_referrals.py::"
        "test_the_credit_is_taken_back_with_the_payment_and_returns_with_it",
    ),
    mutant(
        "every surplus payment of an order raises an alert",
        ORDERS,
        'f"{order.pk} {surplus}".strip()',
        "str(order.pk)",
        "payments/test_orders.py::"
        "test_every_further_payment_of_an_order_raises_an_alert_of_its_own",
    ),
]
