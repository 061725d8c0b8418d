"""Give each route the costs that its model's price versions have, from the same moments on.

Only where they differ from the version before, and none before the first that isn't nothing.
"""

from django.db import migrations

COPY = """
WITH figures AS (
  SELECT
    price.*,
    jsonb_build_array(
      price.input_cost_nanos_per_million, price.cached_input_cost_nanos_per_million,
      price.output_cost_nanos_per_million, price.reasoning_cost_nanos_per_million,
      price.image_cost_nanos, price.second_cost_nanos, price.piece_cost_nanos,
      price.request_cost_nanos, price.extra_cost_rates, price.cost_factor_millionths,
      price.cost_context_tiers, price.cost_service_tiers
    ) AS all_of_them
  FROM billing_priceversion AS price
),
changed AS (
  SELECT
    figures.*,
    coalesce(
      lag(all_of_them) OVER (PARTITION BY product_id ORDER BY effective_from),
      '[0, null, 0, null, 0, 0, 0, 0, {}, 1000000, [], {}]'
    ) AS all_before
  FROM figures
)
INSERT INTO api_routecost (
  route_id, effective_from, input_nanos_per_million, cached_input_nanos_per_million,
  output_nanos_per_million, reasoning_nanos_per_million, image_nanos, second_nanos, piece_nanos,
  request_nanos, extra_rates, factor_millionths, context_tiers, service_tiers, source, created_at)
SELECT
  route.id, changed.effective_from, input_cost_nanos_per_million,
  cached_input_cost_nanos_per_million, output_cost_nanos_per_million,
  reasoning_cost_nanos_per_million, image_cost_nanos, second_cost_nanos, piece_cost_nanos,
  request_cost_nanos, extra_cost_rates, cost_factor_millionths, cost_context_tiers,
  cost_service_tiers, changed.source, changed.created_at
FROM changed
JOIN api_model AS model ON model.product_id = changed.product_id
JOIN api_route AS route ON route.model_id = model.id
WHERE changed.all_of_them <> changed.all_before
ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("api", "0014_route_costs"), ("billing", "0026_carried_spend")]
    operations = [migrations.RunSQL(COPY, migrations.RunSQL.noop)]
