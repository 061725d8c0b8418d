"""The errors of actions on accounts, which callers turn into responses.

AccountsError
├── EmailInUseError          a sign-up with an address in use
├── KeyNotActiveError        a change of a key that is revoked or expired
├── KeyFrozenError           unfreezing a key that staff froze
├── KeyAlreadyRotatedError   a second rotation of one key
├── TooManyKeysError         a key beyond the team's limit
├── NotAllowedError          an action that the actor's role does not allow
├── LastOwnerError           an action that would leave a team without an owner
├── NoSuchMemberError        an action on a member who has left in the meantime
├── AlreadyMemberError       an invitation of a member
├── AlreadyInvitedError      a second open invitation of one address
├── InvitationClosedError    an invitation that was accepted, withdrawn or has expired
├── InvitationMismatchError  an invitation of another address
├── SignInClosedError        a device's sign-in that was decided or has expired
└── SharedTeamError          the deletion of a user whom a shared team needs as its owner
"""


class AccountsError(Exception):
    """The base of the errors below. Its text says what to do and may be shown to the user."""


class EmailInUseError(AccountsError):
    """The email address belongs to another user."""


class KeyNotActiveError(AccountsError):
    """The key is revoked or expired and can't be changed."""


class KeyFrozenError(AccountsError):
    """Staff froze the key, so its team can't unfreeze it."""


class KeyAlreadyRotatedError(AccountsError):
    """The key has a successor; rotate that one instead."""


class TooManyKeysError(AccountsError):
    """The team has reached its limit of valid keys."""


class NotAllowedError(AccountsError):
    """The actor's current role does not allow the action."""


class LastOwnerError(AccountsError):
    """The team would be left without an owner."""


class NoSuchMemberError(AccountsError):
    """The member is no longer in the team."""


class AlreadyMemberError(AccountsError):
    """The email address is a member's."""


class AlreadyInvitedError(AccountsError):
    """The address has an open invitation to the team."""


class InvitationClosedError(AccountsError):
    """The invitation was accepted or withdrawn, or has expired."""


class InvitationMismatchError(AccountsError):
    """The invitation is for another email address than the user's."""


class SignInClosedError(AccountsError):
    """The device's sign-in was approved or denied, or its code has expired."""


class SharedTeamError(AccountsError):
    """The user is the only owner of a team with other members."""
