"""`GET /openapi.json`."""

from functools import lru_cache

import msgspec
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import conditional_page, require_safe

from api.models import Service
from api.openapi.document import document
from api.service import current_service


@require_safe
@conditional_page
@cache_control(public=True, max_age=300)
def openapi_json(request: HttpRequest) -> HttpResponse:
    """Answer the OpenAPI document of this service, which anybody may read."""
    try:
        service = current_service()
    except DatabaseError:
        service = Service()  # the brand is no reason to keep the document back
    answer = HttpResponse(
        _encoded(service.name, service.contact_email), content_type="application/json"
    )
    answer["Access-Control-Allow-Origin"] = "*"
    return answer


@lru_cache(maxsize=4)
def _encoded(service_name: str, contact_email: str) -> bytes:
    return msgspec.json.encode(document(service_name, contact_email))
