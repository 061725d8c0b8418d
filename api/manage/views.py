"""The management API's views: each parses, calls one function and responds."""

from typing import Any
from uuid import uuid4

import structlog
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.authentication import SessionAuthentication
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import access, key_actions
from accounts.client_ip import client_ip
from accounts.models import ApiKey, User
from api import errors
from api.manage import actions, schema
from api.manage.authentication import KeyAuthentication
from api.manage.parsers import JsonParser
from api.manage.serializers import (
    CreatedKeySerializer,
    KeyPage,
    KeyRulesSerializer,
    KeySerializer,
    NewKeySerializer,
    PageSerializer,
    RotationSerializer,
    TeamSerializer,
)
from api.operations.base import parameters_of
from api.operations.receipts import (
    ReceiptQuery,
    RootsQuery,
    receipt_body,
    root_statement,
    roots_page,
)
from api.phrases import Phrase
from billing.receipts.keys import MEDIA_TYPE


class AlwaysJson(DefaultContentNegotiation):
    """JSON whatever the client accepts, as in the rest of the API."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        """Return the first renderer and its media type."""
        return renderers[0], renderers[0].media_type


class ManageView(APIView):
    """The base of the views: `self.actor` is a member of a team, or a management key."""

    authentication_classes = [KeyAuthentication, SessionAuthentication]
    # Permissions are `self.actor`'s (accounts/access.py).
    permission_classes = ()
    parser_classes = [JsonParser]
    content_negotiation_class = AlwaysJson
    actor: access.Actor
    request_id: str

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Give the request its id, which is in the response and every log line."""
        self.request_id = str(uuid4())
        structlog.contextvars.bind_contextvars(request_id=self.request_id)
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate the request and set its actor."""
        super().initial(request, *args, **kwargs)
        self.actor = _actor_of(request)

    def finalize_response(
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> Any:
        """Add the request's id, and forbid caching."""
        response["x-request-id"] = self.request_id
        response["Cache-Control"] = "no-store"
        structlog.contextvars.unbind_contextvars("request_id")
        return super().finalize_response(request, response, *args, **kwargs)  # type: ignore[arg-type]

    def key(self, key_id: int) -> ApiKey:
        """Return the team's key of this id. Raise NotFoundError for any other."""
        return actions.key_of(self.actor, key_id)

    def managed_key(self, key_id: int) -> ApiKey:
        """Return a key that the actor may change. Raise NotFound- and PermissionDeniedError."""
        key = self.key(key_id)
        if not self.actor.may_manage(key):
            raise errors.PermissionDeniedError(
                Phrase("You can't manage this API key. Ask its creator or an owner of the team.")
            )
        return key


class KeysView(ManageView):
    """`keys`: the team's keys, the newest first."""

    @schema.operation("list_keys", answer=KeyPage, query=PageSerializer)
    def get(self, request: Request) -> Response:
        """Return a page of keys."""
        page = PageSerializer(data=request.query_params)
        page.is_valid(raise_exception=True)
        limit: int = page.validated_data["limit"]
        found = actions.newest_keys(self.actor, limit + 1, page.validated_data.get("after"))
        data = [KeySerializer(key).data for key in found[:limit]]
        return Response({"object": "list", "data": data, "has_more": len(found) > limit})

    @schema.operation("create_key", answer=CreatedKeySerializer, body=NewKeySerializer, status=201)
    def post(self, request: Request) -> Response:
        """Create a key and return it with its plaintext, once."""
        created = actions.create_key(self.actor, request.data, client_ip(request))
        return Response(created, status=201)


class KeyView(ManageView):
    """`keys/{id}`: one key."""

    @schema.operation("get_key", answer=KeySerializer)
    def get(self, request: Request, key_id: int) -> Response:
        """Return a key."""
        return Response(KeySerializer(self.key(key_id)).data)

    @schema.operation("update_key", answer=KeySerializer, body=KeyRulesSerializer)
    def patch(self, request: Request, key_id: int) -> Response:
        """Change a key's rules."""
        key = self.managed_key(key_id)
        rules = KeyRulesSerializer(
            data=request.data, partial=True, context={"team": self.actor.team}
        )
        rules.is_valid(raise_exception=True)
        key_actions.update_key(self.actor, key, rules.validated_data, ip_address=client_ip(request))
        return Response(KeySerializer(self.key(key_id)).data)

    @schema.operation("revoke_key", answer=KeySerializer)
    def delete(self, request: Request, key_id: int) -> Response:
        """Revoke a key from its next request on, and return it."""
        key = self.managed_key(key_id)
        revoked = key_actions.revoke_key(self.actor, key, ip_address=client_ip(request))
        return Response(KeySerializer(revoked).data)


class KeyRotationView(ManageView):
    """`keys/{id}/rotate`: a key's replacement."""

    @schema.operation(
        "rotate_key", answer=CreatedKeySerializer, body=RotationSerializer, status=201
    )
    def post(self, request: Request, key_id: int) -> Response:
        """Create a key's successor and return it with its plaintext, once."""
        rotation = RotationSerializer(data=request.data)
        rotation.is_valid(raise_exception=True)
        key = self.managed_key(key_id)
        successor, plaintext = key_actions.rotate_key(
            self.actor, key, **rotation.validated_data, ip_address=client_ip(request)
        )
        return Response(actions.created(self.actor, successor, plaintext), status=201)


class TeamView(ManageView):
    """`team`: the team that the request acts for."""

    @schema.operation("get_team", answer=TeamSerializer)
    def get(self, request: Request) -> Response:
        """Return the team, its plan and its balance."""
        return Response(actions.team_of(self.actor))


class UsageView(ManageView):
    """`usage`: the team's usage."""

    @schema.reports_usage
    def get(self, request: Request) -> Response:
        """Return a page of a usage report."""
        return Response(actions.usage_of(self.actor, _parameters(request)))


class ReceiptView(ManageView):
    """`receipts/{id}`: the receipt of one of the team's requests."""

    @schema.gives_receipt
    def get(self, request: Request, request_id: str) -> HttpResponse:
        """Return a receipt."""
        query = parameters_of(_parameters(request), ReceiptQuery)
        body = receipt_body(actions.account_id_of(self.actor), request_id, query)
        return HttpResponse(
            body, content_type=MEDIA_TYPE if query.format == "jws" else "application/json"
        )


class DayRootsView(ManageView):
    """`day-roots`: the Merkle roots of the team's transfers."""

    @schema.lists_day_roots
    def get(self, request: Request) -> Response:
        """Return a page of signed roots, the latest first."""
        query = parameters_of(_parameters(request), RootsQuery)
        return Response(roots_page(actions.account_id_of(self.actor), query))


class DayRootView(ManageView):
    """`day-roots/{day}`: one day's root."""

    @schema.gives_day_root
    def get(self, request: Request, day: str) -> HttpResponse:
        """Return a day's signed root."""
        body = root_statement(actions.account_id_of(self.actor), day)
        return HttpResponse(body, content_type=MEDIA_TYPE)


class UnknownView(ManageView):
    """Any other path under the management API."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Raise UnknownUrlError for any client and method."""
        raise errors.UnknownUrlError.about(str(request.method), request.path)


def _parameters(request: Request) -> dict[str, str]:
    """Return the query's parameters besides the team."""
    params = request.query_params.lists()
    return {name: ",".join(values) for name, values in params if name != "team"}


def _actor_of(request: Request) -> access.Actor:
    """Return the actor of the request's key or session."""
    slug = request.query_params.get("team")
    if isinstance(request.auth, ApiKey):
        actor = actions.actor_of_key(request.auth)
        if slug not in {None, actor.team.slug}:
            raise _no_such_team(slug)
        return actor
    if not isinstance(request.user, User):
        raise errors.MissingApiKeyError
    member = access.actor_of_user(request.user, slug)
    if member is None and slug is None:
        raise errors.MissingParameterError(
            Phrase("Choose a team with the query parameter `team`: you're in none, or in several."),
            param="team",
        )
    if member is None:
        raise _no_such_team(slug)
    return member


def _no_such_team(slug: str | None) -> errors.NotFoundError:
    return errors.NotFoundError(
        Phrase(
            "You're not a member of the team '{slug}'. Check the team's slug.",
            slug=errors.quoted(slug or ""),
        ),
        param="team",
    )
