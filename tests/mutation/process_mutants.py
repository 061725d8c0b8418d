"""Mutants of what the processes do: gate, group commit, spool, leases and calls at once."""

from tests.mutation.mutant import (
    ADMIT,
    EXTEND,
    GATE,
    GROUP_COMMIT,
    GROWTH,
    GUARDS,
    IDEMPOTENCY,
    LEASE,
    SETTLE,
    SPOOL,
    SWEEP,
    Mutant,
    mutant,
)

GUARDED = ("AND a.posted_nanos - a.held_nanos >= h.amount_nanos", "")
GROWING_HOLD = "api/gateway/growing_hold.py"

PROCESS_MUTANTS = [
    Mutant(
        "extend: the guard of the balance, in the decision and the update's WHERE",
        (
            (EXTEND, ", available, budget_left, spend_left));", "));"),
            (ADMIT, *GUARDED),
        ),
        (
            "test_extend.py::test_a_hold_that_the_balance_can_not_pay_for_stays_as_it_is",
            "test_extend.py::test_extensions_and_admissions_at_once_hold_no_more_than_there_is",
        ),
    ),
    mutant(
        "extend: the budget",
        EXTEND,
        "request.held_nanos, available, budget_left, spend_left",
        "request.held_nanos, available, spend_left",
        "test_extend.py::test_a_budget_bounds_what_its_holds_grow_to",
        "test_extend.py::test_extensions_of_one_batch_share_what_is_left",
    ),
    mutant(
        "extend: the account lock",
        EXTEND,
        "ORDER BY a.id FOR NO KEY UPDATE OF a;",
        "ORDER BY a.id;",
        "test_extend.py::test_an_extension_waits_for_an_admission_under_way",
    ),
    mutant(
        "extend: what the key holds",
        EXTEND,
        "WHERE s.key_id = e.key_id;",
        "WHERE false;",
        "test_extend.py::test_a_hold_grows_to_what_is_asked_and_a_repeat_changes_nothing",
        "test_extend.py::test_extensions_and_admissions_at_once_hold_no_more_than_there_is",
    ),
    mutant(
        "extend: a repeat within a batch",
        EXTEND,
        "request.held_nanos := last_held;",
        "NULL;",
        "test_extend.py::test_a_repeat_in_one_batch_counts_once",
    ),
    mutant(
        "extend: `state = 'open'` of the decision",
        EXTEND,
        "h.account_id = a.id AND h.state = 'open'",
        "h.account_id = a.id",
        "test_extend.py::test_what_has_ended_is_extended_no_more",
    ),
    mutant(
        "extend: a hold is never lowered",
        GUARDS,
        "OLD.amount_nanos > NEW.amount_nanos",
        "false",
        "test_guards.py::test_what_a_reservation_holds_is_not_lowered_or_moved_or_changed_at_its_end"
        "[amount_nanos = amount_nanos - 1]",
    ),
    mutant(
        "extend: text waits for its hold",
        "api/gateway/stream_responder.py",
        "if text_bytes > hold.paid_bytes:",
        "if False:",
        "api/gateway/test_growing_holds.py"
        "::test_no_more_passes_than_is_held_until_the_extension_is_there[/v1/chat/completions]",
        "api/gateway/test_growing_holds.py"
        "::test_an_answer_that_the_hold_never_paid_for_is_not_delivered_and_is_free",
    ),
    mutant(
        "extend: the bill of a cut answer",
        GROWING_HOLD,
        "output = min(usage.output_tokens, most)",
        "output = usage.output_tokens",
        "api/gateway/test_growing_holds.py"
        "::test_an_answer_ends_where_its_hold_can_not_grow[insufficient_quota-/v1/chat/completions]",
    ),
    mutant(
        "tokens: the growth of an answer",
        GROWTH,
        "VALUES (request.key_id, now(), 0, request.growth, '{}')",
        "VALUES (request.key_id, now(), 0, 0, '{}')",
        "test_growth.py::test_what_an_answer_has_beyond_what_was_counted_counts_once",
        "test_growth.py::test_a_hundred_reports_and_admissions_at_once_count_everything_once",
    ),
    mutant(
        "tokens: the account lock of the growth",
        GROWTH,
        "ORDER BY a.id FOR NO KEY UPDATE OF a;",
        "ORDER BY a.id;",
        "test_growth.py::test_a_hundred_reports_and_admissions_at_once_count_everything_once",
    ),
    mutant(
        "tokens: what only the settlement knows",
        SETTLE,
        "current_key.tokens + greatest(0, request.tokens - request.tokens_counted);",
        "current_key.tokens;",
        "test_growth.py::test_what_only_the_settlement_knows_counts_in_its_minute",
    ),
    mutant(
        "free models: the limit of the team and the address",
        ADMIT,
        "WHEN request.free_address IS NOT NULL AND billing_free_is_used_up(",
        "WHEN false AND billing_free_is_used_up(",
        "test_free_models.py::test_a_team_has_a_limit_over_all_of_its_keys_and_addresses",
        "test_free_models.py::test_an_address_has_a_limit_over_all_of_its_teams",
    ),
    mutant(
        "free models: the lock of an address's minute",
        ADMIT,
        "ORDER BY w.subject FOR NO KEY UPDATE;",
        "ORDER BY w.subject;",
        "test_free_models.py::test_of_a_hundred_requests_at_once_of_ten_teams_at_one_address_thirty"
        "_pass",
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
        "        self._copies.watched.append(",
        "        list().append(",
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
    mutant(
        "idempotency: one request has a key",
        IDEMPOTENCY,
        "WHERE (kept.state <> 'running' AND kept.expires_at < now())",
        "WHERE true",
        "api/gateway/test_idempotency.py::test_a_repeat_gets_the_first_answer_and_is_free",
        "api/gateway/test_idempotency.py::test_of_many_at_once_in_two_processes_one_is_run",
    ),
    mutant(
        "idempotency: what was charged is not run again",
        IDEMPOTENCY,
        "AND (NOT {_IS_CHARGED} OR kept.expires_at < now())",
        "",
        "api/gateway/test_idempotency_store.py::test_what_a_repeat_gets_after_its_process_died"
        "[charged-410]",
    ),
    mutant(
        "idempotency: a process that lives keeps its claims",
        IDEMPOTENCY,
        "AND NOT {_IS_ALIVE} AND NOT {_IS_HELD}",
        "AND NOT {_IS_HELD}",
        "api/gateway/test_idempotency_store.py::test_what_a_repeat_gets_after_its_process_died"
        "[alive-409]",
    ),
    mutant(
        "idempotency: a claim whose hold is open",
        IDEMPOTENCY,
        "AND NOT {_IS_ALIVE} AND NOT {_IS_HELD}",
        "AND NOT {_IS_ALIVE}",
        "api/gateway/test_idempotency_store.py::test_what_a_repeat_gets_after_its_process_died"
        "[hold open-409]",
    ),
    mutant(
        "idempotency: an answer is encrypted for its row",
        IDEMPOTENCY,
        'return f"{self.id} {request_id}".encode()',
        'return b""',
        "api/gateway/test_idempotency_store.py::test_the_row_reveals_nothing",
    ),
]
