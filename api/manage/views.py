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
from api.manage import schema
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
from api.operations.base import Parameters, parameters_of
from api.operations.receipts import (
    ReceiptQuery,
    RootsQuery,
    receipt_body,
    root_statement,
    roots_page,
)
from api.operations.usage import TeamUsageQuery, report_query, usage_page
from api.phrases import Phrase
from api.service import current_service
from billing.models import CreditAccount
from billing.receipts.keys import MEDIA_TYPE

_KEY_RELATIONS = ("created_by", "spend", "replaced_by")


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
        shown = self.actor.visible_keys().select_related(*_KEY_RELATIONS)
        key = shown.filter(pk=key_id).first()
        if key is None:
            raise errors.NotFoundError(
                Phrase(
                    "The team has no API key with the id {key_id}. List its keys.", key_id=key_id
                )
            )
        return key

    def account_id(self) -> int:
        """Return the id of the team's credit account, or 0, which is no account's."""
        account = CreditAccount.objects.filter(team=self.actor.team).first()
        return account.pk if account is not None else 0

    def managed_key(self, key_id: int) -> ApiKey:
        """Return a key that the actor may change. Raise NotFound- and PermissionDeniedError."""
        key = self.key(key_id)
        if not self.actor.may_manage(key):
            raise errors.PermissionDeniedError(
                Phrase("You can't manage this API key. Ask its creator or an owner of the team.")
            )
        return key

    def created(self, key: ApiKey, plaintext: str) -> Response:
        """Return the only response that has a key's plaintext."""
        shown = CreatedKeySerializer(self.key(key.pk), context={"plaintext": plaintext})
        return Response(shown.data, status=201)


class KeysView(ManageView):
    """`keys`: the team's keys, the newest first."""

    @schema.operation("list_keys", answer=KeyPage, query=PageSerializer)
    def get(self, request: Request) -> Response:
        """Return a page of keys."""
        page = PageSerializer(data=request.query_params)
        page.is_valid(raise_exception=True)
        limit: int = page.validated_data["limit"]
        keys = self.actor.visible_keys().select_related(*_KEY_RELATIONS).order_by("-id")
        if "after" in page.validated_data:
            keys = keys.filter(pk__lt=page.validated_data["after"])
        found = list(keys[: limit + 1])
        data = [KeySerializer(key).data for key in found[:limit]]
        return Response({"object": "list", "data": data, "has_more": len(found) > limit})

    @schema.operation("create_key", answer=CreatedKeySerializer, body=NewKeySerializer, status=201)
    def post(self, request: Request) -> Response:
        """Create a key and return it with its plaintext, once."""
        new = NewKeySerializer(data=request.data, context={"team": self.actor.team})
        new.is_valid(raise_exception=True)
        if not self.actor.may_create_keys(new.validated_data["scope"]):
            raise errors.PermissionDeniedError(
                Phrase("You can't create this type of API key. Ask an owner of the team.")
            )
        key, plaintext = key_actions.create_key(
            self.actor,
            prefix=current_service().key_prefix,
            ip_address=client_ip(request),
            **new.validated_data,
        )
        return self.created(key, plaintext)


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
        return self.created(successor, plaintext)


class TeamView(ManageView):
    """`team`: the team that the request acts for."""

    @schema.operation("get_team", answer=TeamSerializer)
    def get(self, request: Request) -> Response:
        """Return the team, its plan and its balance."""
        return Response(TeamSerializer(self.actor.team).data)


class UsageView(ManageView):
    """`usage`: the team's usage."""

    @schema.reports_usage
    def get(self, request: Request) -> Response:
        """Return a page of a usage report."""
        query = _query_of(request, TeamUsageQuery)
        keys = self.actor.visible_keys()
        key_ids: tuple[int, ...] | None = None
        if query.key is not None:
            key_ids = (self.key(query.key).pk,)
            keys = keys.filter(pk=query.key)
        if query.member:
            key_ids = tuple(
                keys.filter(created_by__email=query.member).values_list("pk", flat=True)
            )
        return Response(usage_page(query, report_query(query, self.account_id(), key_ids)))


class ReceiptView(ManageView):
    """`receipts/{id}`: the receipt of one of the team's requests."""

    @schema.gives_receipt
    def get(self, request: Request, request_id: str) -> HttpResponse:
        """Return a receipt."""
        query = _query_of(request, ReceiptQuery)
        body = receipt_body(self.account_id(), request_id, query)
        return HttpResponse(
            body, content_type=MEDIA_TYPE if query.format == "jws" else "application/json"
        )


class DayRootsView(ManageView):
    """`day-roots`: the Merkle roots of the team's transfers."""

    @schema.lists_day_roots
    def get(self, request: Request) -> Response:
        """Return a page of signed roots, the latest first."""
        return Response(roots_page(self.account_id(), _query_of(request, RootsQuery)))


class DayRootView(ManageView):
    """`day-roots/{day}`: one day's root."""

    @schema.gives_day_root
    def get(self, request: Request, day: str) -> HttpResponse:
        """Return a day's signed root."""
        return HttpResponse(root_statement(self.account_id(), day), content_type=MEDIA_TYPE)


class UnknownView(ManageView):
    """Any other path under the management API."""

    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Raise UnknownUrlError for any client and method."""
        raise errors.UnknownUrlError.about(str(request.method), request.path)


def _query_of(request: Request, struct: type[Parameters]) -> Parameters:
    """Return the query's parameters besides the team. Raise an InvalidRequestError."""
    params = request.query_params.lists()
    found = {name: ",".join(values) for name, values in params if name != "team"}
    return parameters_of(found, struct)


def _actor_of(request: Request) -> access.Actor:
    """Return the actor of the request's key or session."""
    slug = request.query_params.get("team")
    if isinstance(request.auth, ApiKey):
        actor = access.actor_of_key(request.auth)
        if actor is None:
            raise errors.EndpointNotAllowedError(
                Phrase("This API key is for inference. Use a management key of the team.")
            )
        if actor.team.suspended_at is not None:
            raise errors.TeamSuspendedError
        if slug not in {None, actor.team.slug}:
            raise _no_such_team(slug)
        return actor
    if not isinstance(request.user, User):
        raise errors.MissingApiKeyError
    actor = access.actor_of_user(request.user, slug)
    if actor is None and slug is None:
        raise errors.MissingParameterError(
            Phrase("Choose a team with the query parameter `team`: you're in none, or in several."),
            param="team",
        )
    if actor is None:
        raise _no_such_team(slug)
    return actor


def _no_such_team(slug: str | None) -> errors.NotFoundError:
    return errors.NotFoundError(
        Phrase(
            "You're not a member of the team '{slug}'. Check the team's slug.",
            slug=errors.quoted(slug or ""),
        ),
        param="team",
    )
