"""What tests of staff's pages share."""

import pytest
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden

from config import urls


@pytest.fixture
def bare_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the sidebar, the list of all models and what surrounds a refusal, for tests that go
    through all pages and look at what is theirs. It saves half of the time of each.
    """
    monkeypatch.setattr(admin.site, "get_app_list", lambda *_arguments, **_named: [])
    monkeypatch.setattr(admin.site, "get_sidebar_list", lambda _request: [])
    monkeypatch.setattr(urls, "handler403", _refusal, raising=False)


def _refusal(_request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponseForbidden(str(exception))
