"""What can be wrong with a change of accounts, as exceptions that callers turn into answers.

AccountsError
├── EmailInUseError        sign-up with an address that somebody has
├── KeyNotActiveError      a change of a key that is revoked or expired
└── KeyAlreadyRotatedError a second rotation of one key
"""


class AccountsError(Exception):
    """Any of the errors below. Its text says what to do and may be shown to the caller."""


class EmailInUseError(AccountsError):
    """The e-mail address belongs to a user already."""


class KeyNotActiveError(AccountsError):
    """The key is revoked or expired, so nothing but its listing is left."""


class KeyAlreadyRotatedError(AccountsError):
    """The key has a successor; that one can be rotated."""
