-- Rows that the functions pass among themselves.

DROP TYPE IF EXISTS billing_settlement, billing_verdict, billing_admitted, billing_held_account,
    billing_touched_key, billing_ended, billing_settled_key CASCADE;

-- gate.Settlement, field by field, as the relay sends it.
CREATE TYPE billing_settlement AS (
    request_id uuid, account_id bigint, key_id bigint, price_version_id bigint,
    model text, surface text, endpoint text, outcome text, status smallint, streamed boolean,
    upstream text, upstream_request_id text, end_user text,
    input_tokens bigint, cached_tokens bigint, output_tokens bigint, reasoning_tokens bigint,
    images integer, seconds integer, pieces integer,
    input_nanos bigint, cached_nanos bigint, output_nanos bigint, reasoning_nanos bigint,
    units_nanos bigint, upstream_cost_nanos bigint,
    source text, error text, finish_reason text, attempts jsonb,
    latency_ms integer, first_token_ms integer
);

-- gate.Verdict, field by field, as the relay gets it.
CREATE TYPE billing_verdict AS (
    request_id uuid, code text, catalogue_version bigint,
    key_id bigint, account_id bigint, team_id bigint,
    amount_nanos bigint, available_nanos bigint,
    requests_limit bigint, requests_remaining bigint,
    tokens_limit bigint, tokens_remaining bigint,
    reset_at bigint, retry_after_seconds bigint
);

-- A request that admission let through, with what is held for it.
CREATE TYPE billing_admitted AS (
    request_id uuid, account_id bigint, key_id bigint, price_version_id bigint,
    amount_nanos bigint, model text, surface text, tokens bigint,
    window_started_at timestamptz, hold_seconds double precision
);

-- An account with what a batch of admissions holds of it.
CREATE TYPE billing_held_account AS (account_id bigint, amount_nanos bigint);

-- A key as a batch of admissions leaves it: its minute, in which models with a limit of their own
-- are counted by name besides, and what the batch holds on its budgets.
CREATE TYPE billing_touched_key AS (
    key_id bigint, started_at timestamptz, requests bigint, tokens bigint, model_requests jsonb,
    holds bigint
);

-- A request whose settlement does something: what it says, what was held, what is charged, and the
-- customer's sequence and balance after it. The verdict is `settled`, `released` or `late`.
CREATE TYPE billing_ended AS (
    request_id uuid, account_id bigint, verdict text, hold_nanos bigint, cost_nanos bigint,
    charge_nanos bigint, sequence bigint, balance_nanos bigint, said billing_settlement
);

-- A key as a batch of settlements leaves it: what it spent and released, and the correction of
-- the tokens counted in its minute.
CREATE TYPE billing_settled_key AS (
    key_id bigint, spent bigint, released bigint, window_started_at timestamptz, tokens bigint
);
