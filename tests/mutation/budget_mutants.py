"""What is taken out of the budgets in turn, and the tests that must notice."""

from tests.mutation.mutant import ADMIT, BUDGETS, CARRY, EXTEND, SETTLE, SWEEP, Mutant, mutant

TESTS = "test_shared_budgets.py::test_"

BUDGET_MUTANTS = [
    Mutant(
        "budgets: the guard of the hold, in the decision and the update's WHERE",
        (
            (
                ADMIT,
                "request.amount_nanos, available, budget_left, spend_left",
                "request.amount_nanos, available, budget_left",
            ),
            (ADMIT, "AND least(budget_left, spend_left) < available", "AND false"),
            (BUDGETS, "h.amount_nanos <= h.limit_nanos", "h.amount_nanos >= 0"),
        ),
        (
            f"{TESTS}a_budget_is_held_and_spent_to_the_nano[team]",
            f"{TESTS}a_budget_is_exact_with_ten_connections_at_once",
        ),
    ),
    mutant(
        "budgets: what a batch holds already",
        ADMIT,
        "- coalesce(spend_holds[array_position(spend_ids, mine.spend_ids[i])], 0)",
        "",
        f"{TESTS}a_budget_is_held_and_spent_to_the_nano[team]",
        f"{TESTS}a_budget_is_exact_in_a_batch_of_many_keys_and_sessions",
    ),
    mutant(
        "budgets: what others hold",
        BUDGETS,
        "array_agg(s.spent_nanos + s.held_nanos) AS used",
        "array_agg(s.spent_nanos) AS used",
        f"{TESTS}requests_that_name_no_session_share_one_budget",
    ),
    mutant(
        "budgets: the session of a rule",
        BUDGETS,
        "WHEN 'session' THEN coalesce(left(of_session, 128), '')",
        "WHEN 'session' THEN ''",
        f"{TESTS}others_do_not_count[session]",
    ),
    mutant(
        "budgets: the member of a rule",
        BUDGETS,
        "r.member_id IS NULL OR r.member_id = of_member",
        "true",
        f"{TESTS}others_do_not_count[member]",
    ),
    mutant(
        "budgets: what was spent before a rule",
        BUDGETS,
        "VALUES (account, series, '', period_start, spent, spent)",
        "VALUES (account, series, '', period_start, 0, 0)",
        f"{TESTS}a_new_rule_counts_what_its_period_has_spent[team-month]",
    ),
    mutant(
        "budgets: the period of a changed rule",
        BUDGETS,
        " AND s.starts_on = period_start;",
        ";",
        f"{TESTS}a_changed_rule_leaves_earlier_periods_alone",
    ),
    mutant(
        "budgets: rows that can't be made",
        BUDGETS,
        "EXIT WHEN NOT FOUND;",
        "",
        f"{TESTS}a_team_without_an_account_delays_no_one",
    ),
    mutant(
        "budgets: a request that is only warned, in a batch with a limited one",
        ADMIT,
        "WHEN mine.limits[i] IS NULL OR spend_limits[place] IS NULL THEN NULL",
        "WHEN false THEN NULL",
        f"{TESTS}rules_of_one_series_that_differ_fail_no_batch[True]",
    ),
    mutant(
        "budgets: what an admission says they leave",
        ADMIT,
        "granted, least(available, budget_left, spend_left),",
        "granted, available,",
        f"{TESTS}an_admission_says_what_balance_and_budgets_leave",
    ),
    mutant(
        "budgets: the guard of an extension",
        EXTEND,
        "available, budget_left, spend_left",
        "available, budget_left",
        f"{TESTS}a_hold_grows_as_far_as_the_budget_allows",
    ),
    mutant(
        "budgets: what an extension holds",
        EXTEND,
        "WHERE s.id = ANY (request.spend_ids);",
        "WHERE false;",
        f"{TESTS}a_hold_grows_as_far_as_the_budget_allows",
    ),
    mutant(
        "budgets: what a settlement charges",
        SETTLE,
        "SET spent_nanos = s.spent_nanos + e.charge_nanos, held",
        "SET spent_nanos = s.spent_nanos, held",
        f"{TESTS}a_budget_is_held_and_spent_to_the_nano[team]",
    ),
    mutant(
        "budgets: a late settlement releases nothing",
        SETTLE,
        "sum(e.hold_nanos) FILTER (WHERE e.code <> 'late')",
        "sum(e.hold_nanos)",
        f"{TESTS}the_sweep_releases_and_a_late_settlement_is_counted",
    ),
    mutant(
        "budgets: the sweep's release",
        SWEEP,
        "WHERE s.id = e.spend_id",
        "WHERE false",
        f"{TESTS}the_sweep_releases_and_a_late_settlement_is_counted",
    ),
    mutant(
        "budgets: the series of a rotated key",
        CARRY,
        "r.is_hard, r.series_id, now()",
        "r.is_hard, r.series_id + 1000000, now()",
        f"{TESTS}a_rotated_key_keeps_its_rules_and_what_was_spent[session]",
    ),
]
