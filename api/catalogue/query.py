"""The one statement that reads the catalogue, shaped as `api.catalogue.Snapshot`'s JSON.

One statement sees one point in time whatever the isolation level. Price versions of the last day
are kept beside the one in force, so that a process whose clock runs a little behind the database's
still finds the prices of its own now.
"""

SNAPSHOT_SQL = """
SELECT json_build_object(
  'version', coalesce((SELECT version FROM billing_catalogueversion WHERE id = 1), 0),
  'service', coalesce((SELECT row_to_json(service) FROM api_service AS service WHERE id = 1), '{}'),
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
                'upstream', row_to_json(upstream),
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
                'charges_empty_answers', route.charges_empty_answers
              ) ORDER BY route.priority, route.weight DESC, route.id
            ), '[]'
          )
          FROM api_route AS route
          JOIN api_upstream AS upstream ON upstream.id = route.upstream_id
          WHERE route.model_id = model.id AND route.is_enabled AND upstream.is_enabled
        ) AS routes,
        (
          SELECT coalesce(
            json_agg(
              json_build_object(
                'version_id', price.id,
                'effective_from', price.effective_from,
                'input_nanos_per_million', price.input_nanos_per_million,
                'cached_input_nanos_per_million',
                  coalesce(price.cached_input_nanos_per_million, price.input_nanos_per_million),
                'output_nanos_per_million', price.output_nanos_per_million,
                'reasoning_nanos_per_million',
                  coalesce(price.reasoning_nanos_per_million, price.output_nanos_per_million),
                'image_nanos', price.image_nanos,
                'second_nanos', price.second_nanos,
                'piece_nanos', price.piece_nanos,
                'request_nanos', price.request_nanos,
                'extra', price.extra_rates,
                'factor_millionths', price.factor_millionths,
                'context_tiers', price.context_tiers,
                'service_tiers', price.service_tiers,
                'costs', json_build_object(
                  'input_nanos_per_million', price.input_cost_nanos_per_million,
                  'cached_input_nanos_per_million', coalesce(
                    price.cached_input_cost_nanos_per_million, price.input_cost_nanos_per_million
                  ),
                  'output_nanos_per_million', price.output_cost_nanos_per_million,
                  'reasoning_nanos_per_million', coalesce(
                    price.reasoning_cost_nanos_per_million, price.output_cost_nanos_per_million
                  ),
                  'image_nanos', price.image_cost_nanos,
                  'second_nanos', price.second_cost_nanos,
                  'piece_nanos', price.piece_cost_nanos,
                  'request_nanos', price.request_cost_nanos,
                  'extra', price.extra_cost_rates,
                  'factor_millionths', price.cost_factor_millionths,
                  'context_tiers', price.cost_context_tiers,
                  'service_tiers', price.cost_service_tiers
                )
              ) ORDER BY price.effective_from DESC
            ), '[]'
          )
          FROM billing_priceversion AS price
          WHERE price.product_id = model.product_id
            AND price.effective_from >= coalesce(
              (
                SELECT max(begun.effective_from) FROM billing_priceversion AS begun
                WHERE begun.product_id = model.product_id
                  AND begun.effective_from <= now() - interval '1 day'
              ),
              '-infinity'
            )
        ) AS prices
      FROM api_model AS model
      WHERE model.is_enabled
    ) AS entry
  )
)::text
"""
