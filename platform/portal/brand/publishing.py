"""Drafts of the brand, and their publication: one transaction, with an entry in the staff log."""

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from api.models import Service
from api.service import current_service
from portal.brand.current import DOCUMENTS, FIELDS, digest_of
from portal.models import Brand, BrandDraft, BrandFields

SERVICE_FIELDS = ("name", "tagline", "contact_email")
_LONGEST_SHOWN = 60


class StaleDraftError(Exception):
    """Raised where another brand was published since the draft was last compared with it."""


def draft_of(user: User) -> BrandDraft | None:
    """Return the user's draft, if there is one."""
    return BrandDraft.objects.filter(user=user).first()


def new_draft(user: User) -> BrandDraft:
    """Return a draft (unsaved) of what is published now."""
    service = current_service()
    draft = BrandDraft(user=user, based_on=service.brand_digest)
    _copy(_published(), draft, FIELDS)
    _copy(service, draft, SERVICE_FIELDS)
    return draft


def reset_draft(draft: BrandDraft) -> None:
    """Set everything but the service's name, tagline and address to what ships, and save."""
    _copy(Brand(), draft, FIELDS)
    draft.save()


def changes_of(draft: BrandDraft) -> list[str]:
    """Return what publishing the draft would change, a line each."""
    pairs = [
        *((name, current_service()) for name in SERVICE_FIELDS),
        *((name, _published()) for name in FIELDS if name != "logo_type"),
    ]
    return [
        f"{_label(draft, name)}: {_shown(getattr(row, name))} → {_shown(getattr(draft, name))}"
        for name, row in pairs
        if _plain(getattr(row, name)) != _plain(getattr(draft, name))
    ]


def publish(draft: BrandDraft) -> list[str]:
    """Publish the draft and delete it; return what changed.

    A draft that was compared with another brand than the current one is compared with that first:
    raise StaleDraftError, so that nobody's change is undone unseen.
    """
    with transaction.atomic():
        Service.objects.get_or_create(pk=1)
        service = Service.objects.select_for_update().get(pk=1)
        if draft.based_on != service.brand_digest:
            BrandDraft.objects.filter(pk=draft.pk).update(based_on=service.brand_digest)
            is_stale = True
        else:
            is_stale = False
            changes = changes_of(draft)
            _write(draft, service)
            message = "Brand published. " + ("; ".join(changes) or "No changes.")
            LogEntry.objects.log_actions(
                draft.user_id, [Brand.objects.get(pk=1)], CHANGE, message, single_object=True
            )
            draft.delete()
    if is_stale:
        raise StaleDraftError
    return changes


def _write(draft: BrandDraft, service: Service) -> None:
    brand = Brand.objects.filter(pk=1).first() or Brand()
    has_new_terms = any(
        getattr(brand, name) != getattr(draft, name)
        for document in DOCUMENTS
        if document != "imprint"
        for name in (f"{document}_url", f"{document}_text")
    )
    _copy(draft, brand, FIELDS)
    now = timezone.now()
    if not any(
        getattr(brand, f"{name}_{kind}") for name in DOCUMENTS[:2] for kind in ("url", "text")
    ):
        brand.terms_version = ""
    elif has_new_terms:
        brand.terms_version = f"{now:%Y-%m-%d %H:%M}"
    brand.published_at = now
    is_shipped = digest_of(brand) == digest_of(Brand())
    brand.digest = "" if is_shipped else digest_of(brand, brand.terms_version)
    brand.save()
    _copy(draft, service, SERVICE_FIELDS)
    service.brand_digest = brand.digest
    service.save(update_fields=[*SERVICE_FIELDS, "brand_digest"])


def _published() -> Brand:
    return Brand.objects.filter(pk=1).first() or Brand()


def _copy(source: object, target: object, names: tuple[str, ...]) -> None:
    for name in names:
        setattr(target, name, getattr(source, name))


def _label(draft: BrandFields, name: str) -> str:
    fields = {field.name: field.verbose_name for field in draft._meta.fields}
    return str(fields[name])


def _plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value


def _shown(value: object) -> str:
    """Return a value for the log: short texts as they are, others by their size."""
    value = _plain(value)
    if isinstance(value, bytes):
        return f"{len(value):,} bytes" if value else "shipped"
    if isinstance(value, dict):
        return ", ".join(sorted(value)) or "shipped"
    text = str(value)
    if len(text) > _LONGEST_SHOWN:
        return f"{len(text):,} characters"
    return f"“{text}”" if text else "empty"
