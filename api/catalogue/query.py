"""The one statement that reads the catalogue, shaped as `api.catalogue.Snapshot`'s JSON.

One statement sees one point in time whatever the isolation level. Versions of prices and costs of
the last day come with the one in force, so that a process whose clock runs a little behind
the database's still finds those of its own now.
"""

# A row of rates.
_RATES_SQL = """json_build_object(
  'version_id', rates.id,
  'effective_from', rates.effective_from,
  'input_nanos_per_million', rates.input_nanos_per_million,
  'cached_input_nanos_per_million',
    coalesce(rates.cached_input_nanos_per_million, rates.input_nanos_per_million),
  'output_nanos_per_million', rates.output_nanos_per_million,
  'reasoning_nanos_per_million',
    coalesce(rates.reasoning_nanos_per_million, rates.output_nanos_per_million),
  'image_nanos', rates.image_nanos,
  'second_nanos', rates.second_nanos,
  'piece_nanos', rates.piece_nanos,
  'request_nanos', rates.request_nanos,
  'extra', rates.extra_rates,
  'factor_millionths', rates.factor_millionths,
  'context_tiers', rates.context_tiers,
  'service_tiers', rates.service_tiers
)"""

# The versions of a row's rates, newest first: `rates.{owner}` refers to the `{row}`.
_VERSIONS_SQL = """(
  SELECT coalesce(json_agg({rates} ORDER BY rates.effective_from DESC), '[]')
  FROM {table} AS rates
  WHERE rates.{owner} = {row}
    AND rates.effective_from >= coalesce(
      (
        SELECT max(begun.effective_from) FROM {table} AS begun
        WHERE begun.{owner} = {row} AND begun.effective_from <= now() - interval '1 day'
      ),
      '-infinity'
    )
)"""

# Each route of an upstream is there once for each of its keys that is enabled; without any key, it
# is called without one. An upstream whose keys are all disabled is not called.
_KEYS_SQL = """LEFT JOIN LATERAL (
            SELECT each.*, count(*) FILTER (WHERE each.is_enabled) OVER () > 1 AS has_others
            FROM api_upstreamkey AS each
            WHERE each.upstream_id = upstream.id
              AND (each.encrypted_key <> '' OR each.api_key_env <> '')
          ) AS key ON true"""
_KEY_SQL = """jsonb_build_object(
                  'key_id', coalesce(key.id, 0),
                  'key_name', coalesce(key.name, ''),
                  'key_weight', coalesce(key.weight, 1),
                  'key_max_concurrency', key.max_concurrency,
                  'requests_per_minute', key.requests_per_minute,
                  'tokens_per_minute', key.tokens_per_minute,
                  'has_other_keys', coalesce(key.has_others, false),
                  'encrypted_key', coalesce(key.encrypted_key, ''),
                  'api_key_env', coalesce(key.api_key_env, '')
                )"""

_SNAPSHOT_SQL = """
SELECT json_build_object(
  'version', coalesce((SELECT version FROM billing_catalogueversion WHERE id = 1), 0),
  'service', coalesce(
    (SELECT row_to_json(service) FROM api_service AS service WHERE id = 1), '{{}}'
  ),
  'contracts', (
    SELECT coalesce(
      json_agg(
        json_build_object(
          'id', rates.id,
          'team_id', rates.team_id,
          'product_id', rates.product_id,
          'starts_at', rates.effective_from,
          'ends_at', rates.ends_at,
          'factor_millionths', rates.factor_millionths,
          'rates', CASE WHEN rates.has_own_rates THEN {contract} END
        ) ORDER BY rates.team_id, rates.id
      ), '[]'
    )
    FROM billing_contractprice AS rates
    WHERE rates.state = 'approved'
      AND (rates.ends_at IS NULL OR rates.ends_at > now() - interval '1 day')
  ),
  'ordered', (
    SELECT coalesce(json_agg(entry ORDER BY entry.position, entry.name), '[]')
    FROM (
      SELECT
        model.*,
        model.features AS supported_features,
        floor(extract(epoch FROM model.created_at))::bigint AS created,
        (
          SELECT coalesce(json_agg(alias.name ORDER BY alias.name), '[]')
          FROM api_modelalias AS alias WHERE alias.model_id = model.id
        ) AS aliases,
        (
          SELECT coalesce(
            json_agg(
              json_build_object(
                'id', route.id,
                'upstream', to_jsonb(upstream) || {key},
                'upstream_model', route.upstream_model,
                'priority', route.priority,
                'weight', route.weight,
                'reasoning_dialect', route.reasoning_dialect,
                'max_tokens_field', route.max_tokens_field,
                'takes_stream_options', route.takes_stream_options,
                'takes_temperature', route.takes_temperature,
                'takes_developer_role', route.takes_developer_role,
                'passes_unknown_fields', route.passes_unknown_fields,
                'streams_plain_answers', route.streams_plain_answers,
                'charges_broken_streams', route.charges_broken_streams,
                'charges_empty_answers', route.charges_empty_answers,
                'drains_at', least(route.drains_at, upstream.drains_at, key.drains_at),
                'costs', {costs}
              ) ORDER BY route.priority, route.weight DESC, route.id, key.id
            ), '[]'
          )
          FROM api_route AS route
          JOIN api_upstream AS upstream ON upstream.id = route.upstream_id
          {keys}
          WHERE route.model_id = model.id AND route.is_enabled AND upstream.is_enabled
            AND coalesce(key.is_enabled, true)
        ) AS routes,
        {prices} AS prices
      FROM api_model AS model
      WHERE model.is_enabled
    ) AS entry
  )
)::text
"""

SNAPSHOT_SQL = _SNAPSHOT_SQL.format(
    prices=_VERSIONS_SQL.format(
        rates=_RATES_SQL, table="billing_priceversion", owner="product_id", row="model.product_id"
    ),
    costs=_VERSIONS_SQL.format(
        rates=_RATES_SQL, table="api_routecost", owner="route_id", row="route.id"
    ),
    contract=_RATES_SQL,
    keys=_KEYS_SQL,
    key=_KEY_SQL,
)
