"""Users, who sign in, with the preferences of their profiles."""

from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.zones import validate_zone


class UserManager(BaseUserManager["User"]):
    """The manager of users, whose login is their email address."""

    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        """Return a new user. `password=None` makes one who can't sign in with a password.

        Raise ValueError for an empty email address and IntegrityError for one in use.
        """
        if not email:
            raise ValueError("A user needs an email address.")
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None) -> "User":
        """Return a new user who may do everything in the admin.

        The email address counts as verified, since only someone with a shell can call this.
        """
        from allauth.account.models import EmailAddress  # noqa: PLC0415  (it needs this module)

        with transaction.atomic(using=self._db):
            user = self.create_user(email, password, is_staff=True, is_superuser=True)
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        """Return the user with this login; case doesn't matter."""
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in with an email address."""

    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=150, blank=True)
    is_staff = models.BooleanField(default=False, help_text="May sign in to the admin.")
    is_active = models.BooleanField(default=True, help_text="Clear this instead of deleting.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    zone = models.CharField(
        "time zone",
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="An IANA name, such as Europe/Prague. Empty: the browser's.",
    )
    language = models.CharField(max_length=16, blank=True, default="", db_default="")
    terms_version = models.CharField(
        max_length=20,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The version accepted at sign-up. Empty: created by staff, or earlier.",
    )
    terms_accepted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_unique")]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        """Lower-case the address, as it is stored. Raise ValidationError for an unknown zone."""
        super().clean()
        self.email = self.email.lower()
        if self.zone:
            validate_zone(self.zone)
