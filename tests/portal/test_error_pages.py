"""Pages that say what went wrong: in the shell, with their status, without a leak."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.views import defaults

from tests.cast import signed_in


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/nowhere", "/docs/no-such-page", "/usage/../nowhere"])
def test_an_unknown_address_is_a_404_in_the_shell(client: Client, path: str) -> None:
    answer = client.get(path)
    page = answer.content.decode()
    assert answer.status_code == 404
    assert "Page not found" in page
    assert 'class="top"' in page
    assert "http://testserver/v1" in page


@pytest.mark.django_db
def test_an_unknown_address_is_not_echoed_as_markup(client: Client) -> None:
    assert b"<script>alert" not in client.get("/<script>alert(1)</script>").content


def test_a_failure_of_ours_is_told_without_the_database() -> None:
    def refuse(*args: Any) -> Any:
        raise AssertionError("the database was asked")

    with connection.execute_wrapper(refuse):
        answer = defaults.server_error(RequestFactory().get("/"))
    assert answer.status_code == 500
    assert b"Something went wrong" in answer.content


def test_an_unreadable_request_is_a_400() -> None:
    answer = defaults.bad_request(RequestFactory().get("/"), Exception())
    assert answer.status_code == 400
    assert "We couldn’t read this request".encode() in answer.content


@pytest.mark.django_db
def test_a_form_without_its_token_is_told_to_send_it_again(alice: Any) -> None:
    answer = signed_in(alice, enforce_csrf_checks=True).post("/accounts/logout/")
    assert answer.status_code == 403
    assert b" accepted" in answer.content


@pytest.mark.django_db
def test_a_role_that_may_not_is_told_so(rf: RequestFactory, alice: Any) -> None:
    request = rf.get("/statement")
    request.user, request.session = alice, {}
    answer = defaults.permission_denied(request, Exception())
    assert answer.status_code == 403
    assert b"have access to this page" in answer.content
    assert b"Go to dashboard" in answer.content
