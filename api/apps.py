"""The Django app."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """App configuration of the API."""

    name = "api"
    verbose_name = "API"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have `check_ledger` prove the costs of upstreams as well."""
        from api.catalogue.cost_invariants import COST_INVARIANTS  # noqa: PLC0415  (models first)
        from billing.ledger.invariants import INVARIANTS  # noqa: PLC0415

        INVARIANTS.extend(COST_INVARIANTS)
