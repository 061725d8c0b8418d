"""What is taken out of the ledger in turn, and the tests that must notice."""

from billing.ledger import install
from tests.mutation.metering import METERING
from tests.mutation.mutant import Mutant, mutant

ADMIT, SETTLE, SWEEP, LEASE, POST, GUARDS, LOTS, GIVE_BACK, CHECKS = (
    str(install.current_path(subject).relative_to(install.FOLDER.parents[2]))
    for subject in (
        *("admit", "settle", "sweep", "lease", "post", "guards", "lots", "give_back", "checks"),
    )
)
GATE, SPOOL, GROUP_COMMIT, INSTALL, INVARIANTS = (
    "billing/ledger/gate.py",
    "billing/ledger/spool.py",
    "billing/ledger/group_commit.py",
    "billing/ledger/install.py",
    "billing/ledger/invariants.py",
)
TABLES = "billing/migrations/0001_initial.py"


BALANCE = "least(request.amount_nanos, available, budget_left)"
SHORT = (
    "            WHEN granted < request.least_nanos THEN 'insufficient_quota'\n",
    "            WHEN false THEN 'insufficient_quota'\n",
)

MUTANTS = [
    Mutant(
        "the guard of the reserve: the decision and the update's WHERE",
        (
            (ADMIT, BALANCE, "least(request.amount_nanos, budget_left)"),
            (ADMIT, *SHORT),
            (ADMIT, "AND a.posted_nanos - a.held_nanos >= h.amount_nanos", ""),
        ),
        (
            "test_admit.py::test_the_last_nano_is_held_once",
            "test_gate.py::test_a_thousand_requests_at_once_share_the_last_nano_once",
            "test_gate.py::test_a_thousand_requests_at_once_hold_no_more_than_there_is[299-0]",
        ),
    ),
    mutant(
        "the least hold that makes sense",
        ADMIT,
        *SHORT,
        "test_admit.py::test_a_hold_is_not_lowered_below_the_least_that_makes_sense",
        "test_admit.py::test_the_last_nano_is_held_once",
    ),
    mutant(
        "the account lock of the admission",
        ADMIT,
        "ORDER BY a.id FOR NO KEY UPDATE OF a;",
        "ORDER BY a.id;",
        "test_locks.py::test_a_batch_locks_the_accounts_of_all_its_keys",
        "test_locks.py::test_an_admission_waits_for_the_one_before_it",
    ),
    mutant(
        "the account lock of the settlement",
        SETTLE,
        "ORDER BY a.id FOR NO KEY UPDATE OF a;",
        "ORDER BY a.id;",
        "test_locks.py::test_a_settlement_waits_for_a_posting",
    ),
    mutant(
        "the account lock of the sweep",
        SWEEP,
        "ORDER BY a.id FOR NO KEY UPDATE OF a;",
        "ORDER BY a.id;",
        "test_locks.py::test_the_sweep_waits_for_a_posting",
    ),
    mutant(
        "the account lock of a posting",
        POST,
        "WHERE id = customer AND kind = 'customer' FOR NO KEY UPDATE;\n    SELECT id INTO STRICT",
        "WHERE id = customer AND kind = 'customer';\n    SELECT id INTO STRICT",
        "test_post.py::test_debits_at_once_take_no_more_than_there_is",
    ),
    mutant(
        "the budget",
        ADMIT,
        BALANCE,
        "least(request.amount_nanos, available)",
        "test_budgets.py::test_a_budget_is_held_and_spent_to_the_nano",
        "test_gate.py::test_budgets_are_exact_at_once",
    ),
    mutant(
        "the new month of a budget",
        ADMIT,
        "s.month = this_month",
        "s.month = s.month",
        "test_budgets.py::test_budgets_of_days_and_months_begin_anew_at_midnight_utc",
    ),
    mutant(
        "the count of requests in a minute",
        ADMIT,
        "            requests := requests + 1;\n",
        "",
        "test_limits.py::test_requests_above_the_minutes_limit_are_refused_until_it_ends",
        "test_gate.py::test_sixty_of_a_hundred_requests_at_once_pass_a_limit_of_sixty",
    ),
    mutant(
        "the limit of tokens",
        ADMIT,
        "WHEN tokens + request.least_tokens > request.tokens_limit THEN",
        "WHEN false THEN",
        "test_limits.py::test_tokens_above_the_minutes_limit_are_refused",
        "test_gate.py::test_tokens_at_once_pass_up_to_the_limit",
    ),
    mutant(
        "the limit of a model",
        ADMIT,
        "WHEN least(left_of_key, left_of_model) <= 0 THEN",
        "WHEN left_of_key <= 0 THEN",
        "test_admit_model_limits.py::test_a_models_own_limit_is_exact_within_a_batch",
        "test_admit_model_limits.py::test_a_models_own_limit_holds_for_each_key_beside_the_keys",
    ),
    mutant(
        "what a batch finds of its earlier try",
        ADMIT,
        "existing.amount_nanos AS held_before",
        "NULL::bigint AS held_before",
        "test_admit.py::test_a_repeat_of_an_admission_finds_it_and_holds_nothing_more",
        "test_gate_faults.py::test_an_admission_whose_answer_was_lost_after_its_commit_is_made_once",
    ),
    Mutant(
        "`state = 'open'` of the settlement: the decision and the update's WHERE",
        (
            (
                SETTLE,
                "WHEN request.state = 'open' AND request.cost_nanos = 0",
                "WHEN request.cost_nanos = 0",
            ),
            (SETTLE, "WHEN request.state = 'open' THEN 'settled'", "WHEN true THEN 'settled'"),
            (SETTLE, "AND h.id = e.request_id AND h.state = 'open';", "AND h.id = e.request_id;"),
        ),
        (
            "test_settle.py::test_a_second_settlement_changes_nothing",
            "test_settle.py::test_a_hundred_settlements_at_once_end_a_reservation_once",
            "test_gate_faults.py::test_a_settlement_whose_answer_was_lost_after_its_commit_is_made_once",
        ),
    ),
    mutant(
        "the lines of a charge",
        SETTLE,
        "coalesce(r.lines, '[]'), now()",
        "'[]', now()",
        "test_settle.py::test_the_lines_of_the_charge_are_kept_with_the_record",
        "test_spool.py::test_a_replay_keeps_the_lines_of_a_charge_once",
    ),
    mutant(
        "the proof of a line's arithmetic",
        INVARIANTS,
        "WHERE summary IS NULL OR quantity < 0 OR rate_nanos < 0\n           OR amount_nanos",
        "WHERE summary IS NULL\n           AND amount_nanos",
        "test_check_ledger.py::test_a_corruption_is_found_and_named",
    ),
    mutant(
        "the proof of a line's factor",
        INVARIANTS,
        "to_jsonb(p.factor_millionths * tier.millionths / 1000000)",
        "to_jsonb(coalesce((l.line->>5)::numeric, 1000000))",
        "test_check_ledger.py::test_a_corruption_is_found_and_named",
    ),
    mutant(
        "the factor in the proof of a line's arithmetic",
        INVARIANTS,
        "quantity * rate_nanos * factor + div(per * 1000000, 2)",
        "quantity * rate_nanos * 1000000 + div(per * 1000000, 2)",
        "test_check_ledger.py::test_right_books_of_every_fate_pass",
    ),
    mutant(
        "the bound of a charge by what is available",
        SETTLE,
        "charge := least(request.cost_nanos, posted - held);",
        "charge := request.cost_nanos;",
        "test_overruns.py::test_a_cost_above_what_is_available_never_takes_other_holds",
        "test_overruns.py::test_a_late_settlement_takes_what_is_left_and_writes_off_the_rest",
    ),
    mutant(
        "the write-off of a late settlement",
        SETTLE,
        "overran OR request.cost_nanos > least(request.hold_nanos, charge)",
        "overran OR request.cost_nanos > request.hold_nanos",
        "test_overruns.py::test_a_late_settlement_takes_what_is_left_and_writes_off_the_rest",
    ),
    mutant(
        "the mark that a late settlement removes",
        SETTLE,
        "WHERE request_id = of_request AND outcome = 'expired' AND NOT is_late;",
        "WHERE request_id = of_request;",
        "test_overruns.py::test_a_late_settlement_is_charged_once_and_says_so",
    ),
    mutant(
        "the sweep",
        SWEEP,
        "WHERE r.state = 'open' AND (r.expires_at < now() OR r.created_at < l.ended_at)",
        "WHERE false",
        "test_sweep.py::test_the_sweep_releases_what_has_expired_and_says_why",
        "test_tasks.py::test_the_sweep_goes_on_until_nothing_is_due",
        "test_overruns.py::test_a_late_settlement_is_charged_once_and_says_so",
    ),
    mutant(
        "leases: what a dead process holds is released",
        SWEEP,
        "(r.expires_at < now() OR r.created_at < l.ended_at)",
        "r.expires_at < now()",
        "test_leases.py::test_what_a_dead_process_holds_is_released_within_a_minute_and_the_record"
        "_says_why",
        "test_leases.py::test_a_settlement_of_a_process_that_was_given_up_is_late_and_charged",
    ),
    mutant(
        "leases: a stopped process lives as long as its session",
        LEASE,
        "SELECT EXISTS (",
        "SELECT false AND EXISTS (",
        "test_leases.py::test_what_a_stopped_process_holds_stays_and_is_settled_as_ever",
    ),
    mutant(
        "leases: the suspicion before a process is given up",
        LEASE,
        "AND suspected_at < now() - silence",
        "",
        "test_leases.py::test_a_process_that_has_lost_its_session_is_suspected_before_it_is_given_up",
    ),
    mutant(
        "calls at once: the limit",
        ADMIT,
        "WHEN request.is_call AND open_calls >= request.calls_limit THEN",
        "WHEN false THEN",
        "test_calls_at_once.py::test_calls_above_the_limit_are_refused_and_count_nothing",
        "test_calls_at_once.py::test_of_two_hundred_calls_at_once_through_four_processes_fifty_pass"
        "_a_limit_of_fifty",
    ),
    mutant(
        "calls at once: a call that ends makes room",
        SETTLE,
        "open_calls = a.open_calls - cardinality(array_positions(ended_calls, a.id))",
        "open_calls = a.open_calls",
        "test_calls_at_once.py::test_a_call_that_ends_makes_room_once[settled]",
        "test_calls_at_once.py::test_of_two_hundred_calls_at_once_through_four_processes_fifty_pass"
        "_a_limit_of_fifty",
    ),
    mutant(
        "calls at once: a call that is swept makes room",
        SWEEP,
        ", open_calls = a.open_calls - e.calls",
        "",
        "test_calls_at_once.py::test_a_call_that_is_swept_makes_room_and_its_late_settlement_no_more",
    ),
    mutant(
        "the spool's copies of settlements that are overdue",
        GATE,
        "        self._copies.watch(row, answer)",
        "        # self._copies.watch(row, answer)",
        "test_overdue_copies.py::test_a_settlement_that_waits_too_long_is_in_the_spool_until_the"
        "_ledger_has_it[close]",
    ),
    mutant(
        "the spool's other folder",
        SPOOL,
        "return [settings.SPOOL_DIR, *spares]",
        "return [settings.SPOOL_DIR]",
        "test_spool.py::test_another_folder_takes_what_the_first_does_not",
    ),
    mutant(
        "a draft that can't be written whole is removed",
        SPOOL,
        "            draft.unlink(missing_ok=True)\n",
        "            pass\n",
        "test_spool.py::test_a_disk_without_room_for_a_byte_leaves_nothing_behind",
    ),
    Mutant(
        "the unique constraint on transfers",
        (
            (
                TABLES,
                "models.UniqueConstraint(fields=('kind', 'reference'), name='transfer_once')",
                "models.CheckConstraint(condition=models.Q(id__gt=0), name='transfer_once')",
            ),
            (
                POST,
                "ON CONFLICT (kind, reference) DO NOTHING\n        RETURNING",
                "ON CONFLICT DO NOTHING\n        RETURNING",
            ),
            (
                POST,
                "ON CONFLICT (kind, reference) DO NOTHING;",
                "ON CONFLICT DO NOTHING;",
            ),
        ),
        (
            "test_guards.py::test_a_transfer_can_not_be_put_wrong",
            "test_post.py::test_one_reference_for_two_customers_at_once_posts_for_one",
        ),
    ),
    mutant(
        "lots: what was spent before a lot is drawn without it",
        POST,
        "                PERFORM billing_draw_spending(customer);\n",
        "",
        "test_lots.py::test_what_was_spent_before_a_gift_came_is_not_spent_of_it",
    ),
    mutant(
        "lots: the order of spending",
        LOTS,
        "WINDOW spending AS (ORDER BY l.is_paid, l.expires_at NULLS LAST, l.transfer_id)",
        "WINDOW spending AS (ORDER BY l.transfer_id)",
        "test_lots.py::test_gifts_are_spent_before_payments_and_the_nearest_expiry_first",
    ),
    mutant(
        "lots: the account lock of the expiry",
        LOTS,
        "ORDER BY a.id FOR NO KEY UPDATE OF a;",
        "ORDER BY a.id;",
        "test_lots.py::test_expiry_waits_for_a_request_and_takes_what_it_left",
    ),
    mutant(
        "the limit of a refund by what was paid",
        GIVE_BACK,
        "        taken := least(taken, refundable);\n",
        "",
        "test_give_back.py::test_what_is_spent_is_not_refunded",
        "test_give_back.py::test_refunds_at_once_take_no_more_than_was_paid",
    ),
    mutant(
        "the kind of the credit that a refund takes back",
        LOTS,
        "(t.kind = credit_kind AND t.reference = credit_reference) DESC",
        "(t.kind IN ('top_up', 'grant') AND t.reference = credit_reference) DESC",
        "test_give_back.py::test_a_refund_takes_no_gift_that_has_the_payments_reference",
        "test_give_back.py::test_a_disputed_plans_payment_takes_the_gift_before_what_was_bought",
        "test_give_back.py::test_refunds_at_once_leave_a_gift_of_the_payments_reference_alone",
    ),
    mutant(
        "the owner of a shortfall",
        GIVE_BACK,
        "      AND customer IN (t.customer_id, t.owner_id);\n    restored := 0;\n",
        ";\n    restored := 0;\n",
        "test_give_back.py::test_only_what_was_taken_from_the_customer_is_given_back",
        "test_upgrades.py::test_shortfalls_of_the_last_release_get_their_owner",
    ),
    mutant(
        "what is drawn from the lots is what is taken",
        CHECKS,
        "IF actual IS DISTINCT FROM expected THEN",
        "IF false THEN",
        "test_give_back.py::test_a_refund_that_the_lots_do_not_cover_takes_nothing",
    ),
    mutant(
        "a field that an older process does not send",
        SETTLE,
        "coalesce(r.pieces, 0)",
        "r.pieces",
        "test_upgrades.py::test_a_settlement_without_a_field_is_settled",
    ),
    mutant(
        "an upgrade's migrations give way to who holds the table",
        INSTALL,
        "                editor.execute(f\"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_MS}ms'\")\n",
        "",
        "test_upgrade_under_load.py::test_nothing_fails_or_is_late_while_the_database_is_upgraded",
    ),
    mutant(
        "the account lock of a refund",
        GIVE_BACK,
        "AND kind = 'customer' FOR NO KEY UPDATE;\n\n    SELECT count(*)",
        "AND kind = 'customer';\n\n    SELECT count(*)",
        "test_give_back.py::test_refunds_at_once_take_no_more_than_was_paid",
    ),
    mutant(
        "the one reversal of a refund",
        GIVE_BACK,
        "    IF part <= 0 THEN\n",
        "    IF false THEN\n",
        "test_give_back.py::test_a_refund_that_failed_is_given_back_whole",
        "test_give_back.py::test_a_hundred_reversals_at_once_restore_once",
    ),
    mutant(
        "the order of alerts",
        SETTLE,
        "    ORDER BY 1, 2  -- one order for all",
        "    -- one order for all",
        "test_overruns.py::test_alerts_are_written_in_one_order_whatever_the_batchs",
    ),
    mutant(
        "the guard of the transfers",
        GUARDS,
        "BEFORE UPDATE OR DELETE ON billing_transfer FOR EACH ROW",
        "BEFORE UPDATE OR DELETE ON billing_transfer FOR EACH STATEMENT WHEN (false)",
        "test_guards.py::test_a_transfer_is_never_changed",
        "test_guards.py::test_a_transfer_is_never_deleted",
    ),
    mutant(
        "the shield in the gate's admission",
        GATE,
        "await asyncio.shield(future)",
        "await future",
        "test_gate_faults.py::test_a_caller_that_goes_while_it_is_admitted_leaves_no_hold",
    ),
    mutant(
        "the release of what nobody waits for",
        GATE,
        "lambda answered: self._release(admission, answered)",
        "lambda answered: None",
        "test_gate_faults.py::test_a_caller_that_goes_while_it_is_admitted_leaves_no_hold",
        "test_gate_faults.py::test_what_was_admitted_after_its_caller_lost_patience_is_released",
    ),
    mutant(
        "what counts as a row's own fault",
        GROUP_COMMIT,
        "REFUSALS = (psycopg.DataError, psycopg.IntegrityError)",
        "REFUSALS = (psycopg.Error,)",
        "test_group_commit.py::test_what_is_no_rows_fault_is_tried_again"
        "[read-only after a failover]",
        "test_group_commit.py::test_a_function_that_is_not_there_yet_is_waited_for",
    ),
    mutant(
        "a null that a column does not take is no fault of the row",
        GROUP_COMMIT,
        " and not isinstance(error, psycopg.errors.NotNullViolation)",
        "",
        "test_group_commit.py::test_what_is_no_rows_fault_is_tried_again"
        "[a column that this process does not know]",
        "test_spool.py::test_a_row_that_the_schema_is_not_ready_for_is_kept_and_replayed_later",
    ),
    mutant(
        "the spool at the close",
        GATE,
        "if left and (path := _spooled(left)):",
        'if left and (path := spool.folders()[0] / "lost"):',
        "test_gate_close.py::test_closing_spools_what_the_database_does_not_take",
    ),
    *METERING,
]
