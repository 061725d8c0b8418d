"""What can be wrong with a change of accounts, as exceptions that callers turn into answers.

AccountsError
├── EmailInUseError          sign-up with an address that somebody has
├── KeyNotActiveError        a change of a key that is revoked or expired
├── KeyAlreadyRotatedError   a second rotation of one key
├── NotAllowedError          a deed that the actor's role does not cover
├── LastOwnerError           a deed after which a team would have no owner
├── NoSuchMemberError        a deed to a member who has left meanwhile
├── AlreadyMemberError       an invitation of somebody who is in the team
├── AlreadyInvitedError      a second open invitation of one address
├── InvitationClosedError    an invitation that was accepted, withdrawn or has expired
├── InvitationMismatchError  an invitation of another address
└── SharedTeamError          the deletion of a user whom a shared team needs as its owner
"""


class AccountsError(Exception):
    """Any of the errors below. Its text says what to do and may be shown to the caller."""


class EmailInUseError(AccountsError):
    """The e-mail address belongs to a user already."""


class KeyNotActiveError(AccountsError):
    """The key is revoked or expired, so nothing but its listing is left."""


class KeyAlreadyRotatedError(AccountsError):
    """The key has a successor; that one can be rotated."""


class NotAllowedError(AccountsError):
    """The actor's role, as it is now, does not cover the deed."""


class LastOwnerError(AccountsError):
    """The team would be left without an owner."""


class NoSuchMemberError(AccountsError):
    """The member is no longer in the team."""


class AlreadyMemberError(AccountsError):
    """Somebody with this e-mail address is in the team."""


class AlreadyInvitedError(AccountsError):
    """The address has an open invitation to the team."""


class InvitationClosedError(AccountsError):
    """The invitation was accepted or withdrawn, or has expired."""


class InvitationMismatchError(AccountsError):
    """The invitation is for another e-mail address than the user's."""


class SharedTeamError(AccountsError):
    """The user is the only owner of a team with other members."""
