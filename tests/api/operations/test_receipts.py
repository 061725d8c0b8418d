"""Receipts and day roots over the API, and the documentation's script that verifies them."""

import json
import re
import subprocess
import sys
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.test import Client

from accounts.models import User
from billing.ledger import postings
from billing.models import CreditAccount, PriceVersion
from billing.receipts import keys
from billing.receipts.day_roots import close_days_of
from tests.api.operations.test_account import customer_of, get_all
from tests.billing.ledger_calls import Customer, new_id
from tests.billing.statement_helpers import compared, corrected, line_of, make_price, serve
from tests.cast import IssuedKey, issue

pytestmark = pytest.mark.django_db(transaction=True)

SCRIPT = re.compile(r'<code id="[^"]+" class="language-python">(.*?)</code></pre>', re.S)


@pytest.fixture
def customer(alices_account: CreditAccount, alices_key: IssuedKey) -> Customer:
    """Alice's team with ten dollars and a key."""
    postings.grant(alices_account, 10 * 10**9, reference=f"receipts {new_id()}")
    return customer_of(alices_account, alices_key.key)


@pytest.fixture
def price(db: None) -> PriceVersion:
    """A price of $2 and $10 per million tokens."""
    return make_price()


def close(customer: Customer) -> None:
    """Close the days of the customer's transfers, as if they were over."""
    close_days_of(customer.account, datetime.now(UTC) + timedelta(days=3))


def claims_of(statement: str, kind: str) -> dict[str, Any]:
    """Return the claims of a statement, verified by PyJWT with the published keys."""
    header = jwt.get_unverified_header(statement)
    assert (header["alg"], header["typ"]) == ("EdDSA", kind)
    answer = Client().get("/.well-known/jwks.json")
    assert answer["Cache-Control"] == "public, max-age=3600"
    found = {each["kid"]: jwt.PyJWK(each) for each in answer.json()["keys"]}
    key = found[header["kid"]].key
    claims: dict[str, Any] = jwt.decode(statement, key, algorithms=["EdDSA"])
    return claims


def test_a_receipt_states_what_was_held_used_and_charged(
    settings: Any, customer: Customer, alices_key: IssuedKey, price: PriceVersion
) -> None:
    record = serve(customer, "up", price=price, source="upstream", input_tokens=1001)
    (compact, readable) = get_all(
        settings,
        alices_key.plaintext,
        f"/v1/receipts/{record.pk}",
        f"/receipts/chatcmpl-{record.pk}?format=json",
    )
    assert (compact.status_code, readable.status_code) == (200, 200)
    assert compact.headers["content-type"] == "application/jose"
    claims = claims_of(compact.text, "receipt+jwt")
    assert readable.json()["claims"] == claims_of(readable.json()["jws"], "receipt+jwt")
    assert claims["iss"] == settings.BASE_URL
    assert (claims["request_id"], claims["team"]) == (str(record.pk), customer.team.pk)
    assert (claims["key"], claims["model"]) == (customer.key.pk, "small")
    assert (claims["outcome"], claims["usage_source"]) == ("completed", "upstream")
    assert claims["started_at"] <= claims["ended_at"]
    assert (claims["usage"]["input_tokens"], claims["usage"]["output_tokens"]) == (1001, 100)
    assert claims["price"]["version"] == price.pk
    lines = [
        tuple(line[name] for name in ("component", "quantity", "rate_nanos", "per", "amount_nanos"))
        for line in claims["lines"]
    ]
    assert lines == [
        ("input", 1001, 2 * 10**9, 10**6, 2_002_000),
        ("output", 100, 10 * 10**9, 10**6, 1_000_000),
    ]
    assert (claims["held_nanos"], claims["written_off_nanos"]) == (10_000_000, 0)
    assert claims["charged_nanos"] == claims["cost_nanos"] == 3_002_000
    assert claims["cost_by_component_nanos"]["input"] == 2_002_000
    (moved,) = claims["transfers"]
    transfer = customer.transfers[-1]
    assert moved["proof"] is None, "its day is not over"
    assert (moved["transfer"]["id"], moved["transfer"]["kind"]) == (str(transfer.pk), "usage")
    assert moved["transfer"]["amount_nanos"] == "3002000"
    assert "maker" not in json.dumps(claims), "the upstream is not the customer's business"


def test_a_correction_is_in_the_receipt_with_its_transfer(
    settings: Any, customer: Customer, alices_key: IssuedKey
) -> None:
    upstream_id = new_id()
    record = serve(customer, upstream_id)
    clerk = User.objects.create_user(f"{upstream_id}@example.com", is_staff=True)
    corrected(compared(clerk, [line_of(upstream_id, 900, 40)]), clerk)
    (answer,) = get_all(settings, alices_key.plaintext, f"/v1/receipts/{record.pk}")
    claims = claims_of(answer.text, "receipt+jwt")
    back = record.charged_nanos - claims["corrected_nanos"]
    kinds = [
        (each["transfer"]["kind"], each["transfer"]["amount_nanos"]) for each in claims["transfers"]
    ]
    assert back > 0
    assert kinds == [("usage", str(record.charged_nanos)), ("adjustment", str(back))]


def test_a_free_request_has_a_receipt_without_transfers(
    settings: Any, customer: Customer, alices_key: IssuedKey, price: PriceVersion
) -> None:
    record = serve(customer, "", price=price, source="none", input_tokens=0, output_tokens=0)
    (answer,) = get_all(settings, alices_key.plaintext, f"/v1/receipts/{record.pk}")
    claims = claims_of(answer.text, "receipt+jwt")
    assert (claims["charged_nanos"], claims["lines"], claims["transfers"]) == (0, [], [])


def test_no_receipt_of_a_running_request_or_of_another_teams(
    settings: Any,
    customer: Customer,
    alices_key: IssuedKey,
    charlies_team: Any,
    price: PriceVersion,
) -> None:
    record = serve(customer, "up", price=price)
    running = customer.admitted().request_id
    postings.open_account(charlies_team)
    stranger = issue(charlies_team, None)
    (open_one, unknown, odd, bad) = get_all(
        settings,
        alices_key.plaintext,
        *(f"/v1/receipts/{each}" for each in (running, new_id(), "x%00", f"{record.pk}?format=x")),
    )
    assert (open_one.status_code, open_one.json()["error"]["code"]) == (409, "conflict")
    assert open_one.headers["retry-after"] == "5"
    assert (unknown.status_code, odd.status_code, bad.status_code) == (404, 404, 400)
    foreign = get_all(settings, stranger.plaintext, f"/v1/receipts/{record.pk}")
    assert [answer.status_code for answer in foreign] == [404]
    page = Client().get(
        f"/api/manage/v1/receipts/{record.pk}",
        headers={"authorization": f"Bearer {alices_key.plaintext}"},
    )
    assert page.status_code == 403, "an inference key"


def test_without_a_usable_signing_key_there_is_a_503(
    settings: Any, customer: Customer, alices_key: IssuedKey, price: PriceVersion
) -> None:
    record = serve(customer, "up", price=price)
    get_all(settings, alices_key.plaintext, f"/v1/receipts/{record.pk}")
    settings.ENCRYPTION_KEYS = {99: bytes(32)}
    (answer,) = get_all(settings, alices_key.plaintext, f"/v1/receipts/{record.pk}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")


def test_a_management_key_gets_the_same(
    settings: Any, customer: Customer, alices_key: IssuedKey, price: PriceVersion
) -> None:
    record = serve(customer, "up", price=price)
    close(customer)
    manager = issue(customer.team, None, "manager", scope="management")
    headers = {"authorization": f"Bearer {manager.plaintext}"}
    ours, roots = get_all(
        settings, alices_key.plaintext, f"/v1/receipts/{record.pk}?format=json", "/v1/day-roots"
    )
    day = roots.json()["data"][0]["day"]
    receipt, listed, root = (
        Client().get(f"/api/manage/v1/{path}", headers=headers)
        for path in (f"receipts/{record.pk}?format=json", "day-roots?limit=5", f"day-roots/{day}")
    )
    assert receipt.json()["claims"] | {"iat": 0} == ours.json()["claims"] | {"iat": 0}
    assert listed.json() == roots.json()
    assert root.content.decode() == roots.json()["data"][0]["jws"]
    assert root["content-type"] == "application/jose"
    claims = claims_of(root.content.decode(), "day-root+jwt")
    assert claims["last_sequence"] == customer.account.transfers.count()


class Verifier:
    """The documentation's script, with a receipt of a closed day, the keys and the day's root."""

    def __init__(self, folder: Path, receipt: str, jwks: str, root: str) -> None:
        self._folder = folder
        (script,) = SCRIPT.findall(Client().get("/docs/receipts").content.decode())
        (folder / "verify_receipt.py").write_text(unescape(script))
        self.files = {"receipt.jws": receipt, "jwks.json": jwks, "day-root.jws": root}

    def run(self, **changes: str) -> tuple[int, str]:
        """Return the script's exit code and what it says, with other contents of files."""
        for name, content in self.files.items():
            stem = name.partition(".")[0].replace("-", "_")
            (self._folder / name).write_text(changes.get(stem, content))
        done = subprocess.run(
            [sys.executable, "-I", "verify_receipt.py", *self.files],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr


def with_claims(statement: str, **changes: Any) -> str:
    """Return a statement with other claims under the signature that it has."""
    head, _, signature = statement.split(".")
    claims = claims_of(statement, jwt.get_unverified_header(statement)["typ"]) | changes
    payload = urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{payload}.{signature}"


def test_the_documentations_script_verifies_a_receipt_offline(
    settings: Any,
    customer: Customer,
    alices_key: IssuedKey,
    price: PriceVersion,
    tmp_path: Path,
) -> None:
    records = [serve(customer, "up", price=price) for _ in range(5)]
    open_day, *_ = get_all(settings, alices_key.plaintext, f"/v1/receipts/{records[2].pk}")
    close(customer)
    receipt, roots = get_all(
        settings, alices_key.plaintext, f"/v1/receipts/{records[2].pk}", "/v1/day-roots"
    )
    claims = claims_of(receipt.text, "receipt+jwt")
    proof = claims["transfers"][0]["proof"]
    root = next(each for each in roots.json()["data"] if each["day"] == proof["day"])
    jwks = Client().get("/.well-known/jwks.json").content.decode()
    verifier = Verifier(tmp_path, receipt.text, jwks, root["jws"])

    code, said = verifier.run()
    assert (code, "Proved" in said) == (0, True), said
    code, said = verifier.run(receipt=open_day.text)
    assert (code, "Proved" in said, "Not proved yet" in said) == (0, False, True), said

    code, said = verifier.run(receipt=with_claims(receipt.text, charged_nanos=1))
    assert (code, "InvalidSignature" in said) == (1, True), said
    code, said = verifier.run(day_root=with_claims(root["jws"], root="00" * 32))
    assert (code, "InvalidSignature" in said) == (1, True), said
    assert verifier.run(receipt=root["jws"])[0] == 1, "another type of statement"

    # What we would sign ourselves: a day's root without the transfer, and one of another team.
    day = claims_of(root["jws"], "day-root+jwt")
    for changes in ({"root": "00" * 32}, {"team": day["team"] + 1}):
        code, said = verifier.run(day_root=keys.sign(day | changes, "day-root+jwt"))
        assert (code, "not below this root" in said) == (1, True), said
    code, said = verifier.run(day_root=keys.sign(day | {"day": "2020-01-01"}, "day-root+jwt"))
    assert (code, "Pass the root of" in said) == (1, True), said

    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    forged = json.loads(jwks)
    for each in forged["keys"]:
        each["x"] = urlsafe_b64encode(other).rstrip(b"=").decode()
    assert verifier.run(jwks=json.dumps(forged))[0] == 1
    code, said = verifier.run(jwks=json.dumps({"keys": []}))
    assert (code, "No published key" in said) == (1, True), said


def test_the_script_is_short_and_needs_one_package() -> None:
    (script,) = SCRIPT.findall(Client().get("/docs/receipts").content.decode())
    text = unescape(script)
    assert len(text.splitlines()) <= 60
    modules = set(re.findall(r"^(?:import|from) (\w+)", text, re.M))
    assert modules - set(sys.stdlib_module_names) == {"cryptography"}
