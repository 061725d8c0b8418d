"""The one page that has a key's plaintext: an answer that nobody keeps."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from accounts.models import ApiKey
from api.catalogue.snapshot import Snapshot
from portal.snippets import Snippet, chat_snippets, management_snippets


def show_once(
    request: HttpRequest,
    key: ApiKey,
    plaintext: str,
    snapshot: Snapshot,
    *,
    old: ApiKey | None = None,
    grace_seconds: int = 0,
) -> HttpResponse:
    """Returns the page of a new key, with code that uses it. `old` is the key that it replaces,
    which works on for `grace_seconds`.

    It is the form's own answer, of a view that is never cached: a redirect would have to keep the
    key somewhere.
    """
    context = {
        "key": key,
        "plaintext": plaintext,
        "old": old,
        "grace_seconds": grace_seconds,
        "snippets": _snippets(request, key, plaintext, snapshot),
    }
    return render(request, "keys/shown_once.html", context)


def _snippets(
    request: HttpRequest, key: ApiKey, plaintext: str, snapshot: Snapshot
) -> list[Snippet]:
    """Returns code for the key with the reader's own address; none where it may call no model."""
    if key.scope == ApiKey.Scope.MANAGEMENT:
        base_url = request.build_absolute_uri(reverse("manage-keys")).removesuffix("/keys")
        return management_snippets(base_url=base_url, api_key=plaintext)
    allowed = key.allowed_models
    models = [model.name for model in snapshot.public_models(kind="chat")]
    callable_models = [name for name in models if not allowed or name in allowed]
    if not callable_models:
        return []
    base_url = request.build_absolute_uri("/v1")
    return chat_snippets(base_url=base_url, model=callable_models[0], api_key=plaintext)
