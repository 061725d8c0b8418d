"""Trial credit: once for each mailbox and each team, whatever races."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.test import Client

from accounts import teams
from accounts.deletion import delete_user
from accounts.mailboxes import mailbox_of
from accounts.models import User
from billing.models import CreditAccount, Transfer
from portal.sign_in.onboarding import grant_trial, is_disposable, open_books
from tests.portal.sent_emails import code_to

pytestmark = pytest.mark.django_db

DOLLAR = 1_000_000_000


@pytest.fixture(autouse=True)
def _trial(settings: Any) -> None:
    settings.TRIAL_CREDIT_DOLLARS = "1"


def new_user(email: str) -> User:
    user, _ = teams.sign_up(email, None, is_verified=True)
    open_books(user)
    return user


def balances() -> list[int]:
    return sorted(
        CreditAccount.objects.filter(kind="customer").values_list("posted_nanos", flat=True)
    )


def sign_up_and_verify(email: str) -> Client:
    client = Client()
    client.post("/accounts/signup/", {"email": email, "password1": "correct horse battery"})
    client.post("/accounts/confirm-email/", {"code": code_to(email)})
    return client


def test_the_verified_address_brings_the_credit_and_the_sign_up_alone_does_not() -> None:
    Client().post(
        "/accounts/signup/", {"email": "a@example.com", "password1": "correct horse battery"}
    )
    assert balances() == [0]
    sign_up_and_verify("b@example.com")
    assert balances() == [0, DOLLAR]
    transfer = Transfer.objects.get()
    assert (transfer.kind, transfer.memo) == ("grant", "Trial credit")
    assert "example" not in transfer.reference, "the books outlive the account and its address"


def test_a_second_spelling_of_a_mailbox_brings_none() -> None:
    for email in ("jo.doe@gmail.com", "jodoe+two@gmail.com", "j.o.doe@googlemail.com"):
        sign_up_and_verify(email)
    assert balances() == [0, 0, DOLLAR]


def test_a_mailbox_whose_account_was_deleted_brings_none() -> None:
    sign_up_and_verify("jo.doe@gmail.com")
    delete_user(User.objects.get())
    sign_up_and_verify("jodoe@gmail.com")
    assert User.objects.filter(is_active=True).get().email == "jodoe@gmail.com"
    assert balances() == [0, DOLLAR]
    assert Transfer.objects.count() == 1


def test_a_second_address_of_a_user_brings_none() -> None:
    user = new_user("a@example.com")
    assert grant_trial(user, "a@example.com") == DOLLAR
    assert grant_trial(user, "b@example.com") == 0
    assert balances() == [DOLLAR]


def test_no_credit_is_the_default(settings: Any) -> None:
    settings.TRIAL_CREDIT_DOLLARS = "0"
    sign_up_and_verify("a@example.com")
    assert balances() == [0]


def test_another_amount_later_does_not_grant_again(settings: Any) -> None:
    user = new_user("a@example.com")
    grant_trial(user, "a@example.com")
    settings.TRIAL_CREDIT_DOLLARS = "5"
    assert grant_trial(user, "a@example.com") == 0
    assert grant_trial(new_user("a+2@example.com"), "a+2@example.com") == 0


def test_an_invited_users_verified_address_brings_it_too(client: Client) -> None:
    session = client.session
    session["account_verified_email"] = "invited@example.com"
    session.save()
    answer = client.post(
        "/accounts/signup/",
        {"email": "invited@example.com", "password1": "correct horse battery"},
    )
    assert answer["Location"] == "/dashboard"
    assert EmailAddress.objects.get().verified
    assert balances() == [DOLLAR]


@pytest.mark.django_db(transaction=True)
def test_a_mailbox_that_is_verified_many_times_at_once_gets_it_once() -> None:
    users = [new_user(f"same+{n}@example.com") for n in range(6)]
    start = Barrier(len(users))

    def verify(user: User) -> int:
        try:
            start.wait(10)
            return grant_trial(user, user.email)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(users)) as pool:
        granted = list(pool.map(verify, users))
    assert sorted(granted) == [0] * 5 + [DOLLAR]
    assert balances() == [0] * 5 + [DOLLAR]


@pytest.mark.django_db(transaction=True)
def test_a_user_who_verifies_many_addresses_at_once_gets_it_once() -> None:
    user = new_user("a@example.com")
    start = Barrier(6)

    def verify(n: int) -> int:
        try:
            start.wait(10)
            return grant_trial(user, f"alias{n}@example.com")
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        granted = list(pool.map(verify, range(6)))
    assert sorted(granted) == [0] * 5 + [DOLLAR]
    assert balances() == [DOLLAR]


@pytest.mark.parametrize(
    ("address", "mailbox"),
    [
        ("Jo.Doe+x@Gmail.com", "jodoe@gmail.com"),
        ("jo.doe@googlemail.com", "jodoe@gmail.com"),
        ("jo.doe+x@example.com", "jo.doe@example.com"),
        ("jo@example.com", "jo@example.com"),
        ('"a@b"@example.com', '"a@b"@example.com'),
    ],
)
def test_addresses_of_one_mailbox_have_one_spelling(address: str, mailbox: str) -> None:
    assert mailbox_of(address) == mailbox


@pytest.mark.parametrize(
    ("address", "is_so"),
    [
        ("a@trash.example", True),
        ("a@x.Trash.Example", True),
        ("a@trash.example.", True),
        ("a@nottrash.example", False),
        ("a@example", False),
    ],
)
def test_disposable_domains_hold_for_those_below_them(address: str, is_so: bool) -> None:
    assert is_disposable(address, {"trash.example"}) is is_so
