"""The page of day roots, and the files of roots and receipts on the portal."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from accounts.models import User
from billing.models import CreditAccount
from billing.receipts.day_roots import close_days_of, roots_of
from tests.cast import IssuedKey, signed_in
from tests.portal.serving import DOLLAR, book, customer_of, serve

pytestmark = pytest.mark.django_db


def claims_of(statement: str) -> dict[str, object]:
    found: dict[str, object] = jwt.decode(statement, options={"verify_signature": False})
    return found


def test_the_page_lists_roots_and_offers_each_as_a_file(
    alice: User, alices_account: CreditAccount
) -> None:
    browser = signed_in(alice)
    assert "No day roots yet" in browser.get("/statement/days").content.decode()
    for day in range(33):
        at = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(days=day)
        book(alices_account, at.isoformat(), "top_up", 10)
    close_days_of(alices_account, datetime(2026, 4, 1, tzinfo=UTC))
    roots = roots_of(alices_account.pk, limit=40)
    assert len(roots) == 33

    newest = browser.get("/statement/days").content.decode()
    assert (roots[0].root.hex() in newest, roots[31].root.hex() in newest) == (True, False)
    assert f"/statement/days?before={roots[30].day}" in newest
    assert f">{roots[0].day}</th>" in newest
    older = browser.get(f"/statement/days?before={roots[30].day}").content.decode()
    assert (roots[0].root.hex() in older, roots[31].root.hex() in older) == (False, True)

    file = browser.get(f"/statement/days/{roots[0].day}")
    assert file["Content-Disposition"] == f'attachment; filename="day-root-{roots[0].day}.jws"'
    claims = claims_of(file.content.decode())
    assert (claims["day"], claims["root"]) == (str(roots[0].day), roots[0].root.hex())
    for other in ("2020-01-01", "yesterday"):
        assert browser.get(f"/statement/days/{other}").status_code == 404


def test_a_requests_page_offers_its_receipt(
    alice: User, alices_account: CreditAccount, alices_key: IssuedKey
) -> None:
    customer = customer_of(alices_account, alices_key, DOLLAR)
    record, running = serve(customer, output_nanos=700), customer.admitted().request_id
    browser = signed_in(alice)
    address = f"/usage/requests/{record.pk}/receipt"
    assert address in browser.get(f"/usage/requests/{record.pk}").content.decode()
    claims = claims_of(browser.get(address).content.decode())
    assert (claims["request_id"], claims["charged_nanos"]) == (str(record.pk), 700)
    assert "/receipt" not in browser.get(f"/usage/requests/{running}").content.decode()
    assert browser.get(f"/usage/requests/{running}/receipt").status_code == 404
