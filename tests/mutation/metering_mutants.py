"""What is taken out of the metering of requests in turn, and the tests that must notice."""

from tests.mutation.mutant import SETTLE, mutant

EARLY_ENDS = "api/gateway/test_early_ends.py::"
CONTRACTS = "api/gateway/test_contract_prices.py::"
ABANDONED = "api/gateway/test_abandoned.py::"

METERING_MUTANTS = [
    mutant(
        "the team's contract price in the quote",
        "api/gateway/admission.py",
        "snapshot = snapshot.for_team(await _team_of(gateway, request, digests))",
        "await _team_of(gateway, request, digests)",
        f"{CONTRACTS}test_a_teams_hold_and_charge_are_at_its_contract_price",
    ),
    mutant(
        "the end of a contract",
        "billing/pricing/contracts.py",
        "moments |= {each.ends_at for each in mine if each.ends_at is not None}",
        "pass",
        "test_contract_rates.py::test_it_applies_from_its_start_to_before_its_end",
    ),
    mutant(
        "the lock under which contracts are compared",
        "api/catalogue/contracts.py",
        "        Team.objects.select_for_update(no_key=True).get(pk=staff.team.pk)\n",
        "",
        "api/test_contract_prices.py::test_of_many_at_once_for_the_same_one_is_set",
    ),
    mutant(
        "a closed stream pays for tools, schemas and files, too",
        "api/dialects/prompt.py",
        "            self.text_bytes += len(_encode(value))\n",
        "            pass\n",
        f"{EARLY_ENDS}test_a_closed_stream_costs_all_that_was_sent[/v1/messages]",
        "api/gateway/test_estimate.py::test_all_that_is_sent_counts",
    ),
    mutant(
        "a closed stream pays for the prompt that was reported",
        "api/gateway/settlement.py",
        "        if metered.usage is None:\n            # This includes",
        "        if True:\n            # This includes",
        f"{EARLY_ENDS}test_a_closed_stream_costs_the_prompt_that_the_upstream_reported",
        f"{EARLY_ENDS}test_the_last_usage_of_a_closed_stream_is_what_is_charged",
    ),
    mutant(
        "a closed stream pays for no more output than was held for",
        "api/dialects/usage.py",
        "min(usage.output_tokens + unreported, limits.most_output)",
        "usage.output_tokens + unreported",
        f"{EARLY_ENDS}test_a_closed_stream_costs_no_more_output_than_was_held_for",
    ),
    mutant(
        "the rule of a route for broken streams",
        "api/gateway/settlement.py",
        'is_charged = not error.is_upstream_break or rule == "always"',
        "is_charged = True",
        f"{EARLY_ENDS}test_a_broken_stream_says_what_it_cost_by_the_routes_rule",
    ),
    mutant(
        "what a broken stream cost is told",
        "api/gateway/stream_responder.py",
        "error.as_error(admitted.cost.total_nanos)",
        "error.as_error()",
        f"{EARLY_ENDS}test_a_broken_stream_says_what_it_cost_by_the_routes_rule",
    ),
    mutant(
        "the upstream's cost of what the customer does not pay",
        "api/gateway/settlement.py",
        "            self._losses.append(cost)\n",
        "            pass\n",
        f"{EARLY_ENDS}test_a_broken_stream_says_what_it_cost_by_the_routes_rule",
        f"{EARLY_ENDS}test_a_closed_stream_costs_all_that_was_sent",
    ),
    mutant(
        "a prompt above what the bytes can be is charged at the bound by every operation",
        "api/dialects/counted.py",
        "most < count <= limits.most_tokens",
        "False",
        "api/operations/test_rerank.py::"
        "test_a_figure_above_what_the_bytes_can_be_is_charged_at_the_bound_and_kept",
        "api/operations/test_moderations.py::test_tokens_are_charged_where_they_can_be_true",
    ),
    mutant(
        "the figures of a stream without its end that can't be true are kept",
        "api/gateway/settlement.py",
        "        self._note_rejected(part.rejected)\n",
        "",
        f"{EARLY_ENDS}test_figures_of_a_stream_without_its_end_are_kept_with_the_attempt",
    ),
    mutant(
        "an empty answer costs its input by the route's rule",
        "api/gateway/settlement.py",
        "elif self.route is not None and self.route.charges_empty_answers:",
        "elif False:",
        f"{EARLY_ENDS}test_an_empty_answer_costs_its_input_where_the_row_says_so",
    ),
    mutant(
        "a hidden token that the limit ended is no emptiness",
        "api/gateway/settlement.py",
        "if not metered.is_empty or self.finish_reason in _ENDS_BY_LENGTH:",
        "if not metered.is_empty:",
        f"{EARLY_ENDS}test_a_hidden_token_that_the_limit_ended_is_no_emptiness",
    ),
    mutant(
        "who cancels often pays what is billed",
        "api/gateway/cancellations.py",
        "            self.over.add(key_id)\n",
        "            pass\n",
        f"{ABANDONED}test_a_key_that_cancels_often_pays_what_is_billed",
        f"{ABANDONED}test_plain_calls_count_as_cancelled_and_are_read_on_for",
    ),
    mutant(
        "a key's cancellations in other processes count",
        "api/gateway/count_exchange.py",
        "            self._cancellations.add(key_id, cancelled)\n",
        "            pass\n",
        "api/gateway/test_count_exchange.py::test_processes_add_up_and_none_is_counted_twice",
    ),
    mutant(
        "a process's own counts don't come back to it",
        "api/gateway/count_exchange.py",
        "        if counts.sender == self._sender:\n            return\n",
        "",
        "api/gateway/test_count_exchange.py::test_processes_add_up_and_none_is_counted_twice",
    ),
    mutant(
        "a retry is one of the same key",
        SETTLE,
        "failed.key_id = r.key_id",
        "true",
        "test_retries.py::test_nothing_else_is_a_retry",
    ),
    mutant(
        "a retry without a stream is recognized",
        "api/gateway/body_digest.py",
        "else _without_stream(body)",
        "else body",
        "api/gateway/test_body_digest.py::test_a_broken_stream_and_its_retry_settle_with_one_digest",
    ),
    mutant(
        "cancelled images cost what the upstream billed",
        "api/gateway/runner.py",
        "        if may_read_on and is_read_on_for(gateway, admitted, route):\n",
        "        if False:\n",
        f"{ABANDONED}test_cancelled_images_cost_what_the_upstream_billed",
        f"{ABANDONED}test_a_cancelled_call_is_read_on_for_where_the_upstream_bills_it",
    ),
    mutant(
        "a call that never reached the upstream is free",
        "api/gateway/settlement.py",
        "        if self.was_dispatched and self.quote.units is None:\n",
        "        if self.quote.units is None:\n",
        f"{ABANDONED}test_a_call_that_never_reached_the_upstream_is_free",
        f"{ABANDONED}test_a_client_who_leaves_between_attempts_pays_for_nothing",
    ),
    mutant(
        "a ratio of tokens changes no hold",
        "api/gateway/quote.py",
        "        self.prompt = Estimate(likely, self.prompt.most)\n",
        "        self.prompt = Estimate(likely, self.prompt.most)\n"
        "        self.amount_nanos = round(self.amount_nanos * ratio)\n",
        "api/gateway/test_token_ratios.py::test_a_ratio_changes_estimates_and_no_hold",
    ),
    mutant(
        "one request does not decide a ratio of tokens",
        "api/gateway/token_ratios.py",
        "min(1.0, MOST_TOKENS_OF_SAMPLE / max(estimated, 1))",
        "1.0",
        "api/gateway/test_token_ratios.py::test_one_request_can_not_decide_a_ratio",
    ),
]
