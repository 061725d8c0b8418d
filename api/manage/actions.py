"""The actions of the management API and the MCP server, each with the answer that JSON shows."""

from collections.abc import Mapping
from typing import Any

from accounts import access, key_actions
from accounts.models import ApiKey
from api import errors
from api.manage.serializers import CreatedKeySerializer, NewKeySerializer, TeamSerializer
from api.operations.base import parameters_of
from api.operations.usage import TeamUsageQuery, report_query, usage_page
from api.phrases import Phrase
from api.service import current_service
from billing.models import CreditAccount

_KEY_RELATIONS = ("created_by", "spend", "replaced_by")


def actor_of_key(key: ApiKey) -> access.Actor:
    """Return a management key as the actor of its team.

    Raise EndpointNotAllowedError for a key of another scope, and TeamSuspendedError.
    """
    actor = access.actor_of_key(key)
    if actor is None:
        raise errors.EndpointNotAllowedError(
            Phrase("This API key is for inference. Use a management key of the team.")
        )
    if actor.team.suspended_at is not None:
        raise errors.TeamSuspendedError
    return actor


def key_of(actor: access.Actor, key_id: int) -> ApiKey:
    """Return the team's key of this id. Raise NotFoundError for any other."""
    key = actor.visible_keys().select_related(*_KEY_RELATIONS).filter(pk=key_id).first()
    if key is None:
        raise errors.NotFoundError(
            Phrase("The team has no API key with the id {key_id}. List its keys.", key_id=key_id)
        )
    return key


def newest_keys(actor: access.Actor, limit: int, after: int | None) -> list[ApiKey]:
    """Return the team's keys, the newest first: at most `limit`, after the key with id `after`."""
    keys = actor.visible_keys().select_related(*_KEY_RELATIONS).order_by("-id")
    if after is not None:
        keys = keys.filter(pk__lt=after)
    return list(keys[:limit])


def create_key(
    actor: access.Actor, fields: Mapping[str, Any], ip_address: str | None
) -> dict[str, Any]:
    """Create a key and return it with its plaintext, once.

    Raise DRF's ValidationError, PermissionDeniedError and TooManyKeysError.
    """
    new = NewKeySerializer(data=fields, context={"team": actor.team})
    new.is_valid(raise_exception=True)
    if not actor.may_create_keys(new.validated_data["scope"]):
        raise errors.PermissionDeniedError(
            Phrase("You can't create this type of API key. Ask an owner of the team.")
        )
    key, plaintext = key_actions.create_key(
        actor,
        prefix=current_service().key_prefix,
        ip_address=ip_address,
        **new.validated_data,
    )
    return created(actor, key, plaintext)


def created(actor: access.Actor, key: ApiKey, plaintext: str) -> dict[str, Any]:
    """Return a new key with its plaintext: the only answer that has it."""
    shown = CreatedKeySerializer(key_of(actor, key.pk), context={"plaintext": plaintext})
    return dict(shown.data)


def team_of(actor: access.Actor) -> dict[str, Any]:
    """Return the actor's team, its plan and its balance."""
    return dict(TeamSerializer(actor.team).data)


def usage_of(actor: access.Actor, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of a report of the team's usage. Raise an error of `api.errors`."""
    query = parameters_of(parameters, TeamUsageQuery)
    keys = actor.visible_keys()
    key_ids: tuple[int, ...] | None = None
    if query.key is not None:
        key_ids = (key_of(actor, query.key).pk,)
        keys = keys.filter(pk=query.key)
    if query.member:
        key_ids = tuple(keys.filter(created_by__email=query.member).values_list("pk", flat=True))
    return usage_page(query, report_query(query, account_id_of(actor), key_ids))


def account_id_of(actor: access.Actor) -> int:
    """Return the id of the team's credit account, or 0, which is no account's."""
    account = CreditAccount.objects.filter(team=actor.team).first()
    return account.pk if account is not None else 0
