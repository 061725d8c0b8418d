"""The service's own row: its name, its key prefix."""

from api.models import Service


def current_service() -> Service:
    """Return the service's row, or one of defaults (unsaved) where no catalogue was loaded yet."""
    return Service.objects.filter(pk=1).first() or Service()
