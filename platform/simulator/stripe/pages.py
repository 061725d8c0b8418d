"""The pages that a person clicks on. Every one says that no money moves here."""

from html import escape

from simulator.stripe.payments import CARDS
from simulator.stripe.store import Thing

_STYLE = """
body{margin:0;background:#f6f7f9;color:#1a1f36;font:16px/1.5 system-ui,sans-serif}
main{max-width:26rem;margin:8vh auto;padding:2rem;background:#fff;border:1px solid #dfe3ea;
border-radius:12px}
h1{margin:0 0 .25rem;font-size:1.3rem}p{margin:.25rem 0 1rem}
.mark{display:inline-block;margin-bottom:1rem;padding:.1rem .6rem;border-radius:99px;
background:#fde8c4;color:#6b3d00;font-size:.8rem;font-weight:600}
button,a.b{display:block;box-sizing:border-box;width:100%;margin:.5rem 0;padding:.7rem;border:1px
solid #b9c0cd;border-radius:8px;background:#fff;color:inherit;font:inherit;text-align:center;
text-decoration:none;cursor:pointer}
button.main{background:#1a1f36;color:#fff}.bad{color:#b3261e}
@media(prefers-color-scheme:dark){body{background:#14161c;color:#e8eaf0}main{background:#1d2029;
border-color:#333846}button,a.b{background:#262a35;border-color:#4a5060}}
"""


def page(title: str, inner: str) -> str:
    """Returns a whole page; `inner` is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{escape(title)}</title><style>'
        f'{_STYLE}</style></head><body><main><span class="mark">Test mode: no money moves</span>'
        f"<h1>{escape(title)}</h1>{inner}</main></body></html>"
    )


def checkout(session: Thing, error: str = "") -> str:
    """Returns the page of an open session, with a button for each way it can go."""
    amount = session["amount_total"]
    asked = f"<p>${amount / 100:,.2f} to pay</p>" if amount is not None else "<p>Save a card</p>"
    bad = f'<p class="bad" role="alert">{escape(error)}</p>' if error else ""
    buttons = "".join(
        _button(f"{session['url']}/pay", "card", name, label, is_main=name == "pm_card_visa")
        for name, label in (
            ("pm_card_visa", "Pay" if amount is not None else "Save this card"),
            ("pm_card_authenticationRequired", "Pay with 3-D Secure"),
            ("pm_card_chargeDeclined", "Pay with a card that is declined"),
        )
    )
    back = session["cancel_url"]
    leave = f'<a class="b" href="{escape(back)}">Go back</a>' if back else ""
    return page("Checkout", f"{asked}{bad}{buttons}{leave}")


def authentication(session: Thing, card: str) -> str:
    """Returns the page on which a cardholder's bank asks whether it is them."""
    yes = _button(f"{session['url']}/authenticate", "card", card, "Complete", is_main=True)
    return page(
        "3-D Secure",
        "<p>Your bank asks whether this is you.</p>"
        f'{yes}<a class="b" href="{escape(session["url"])}">Fail</a>',
    )


def portal(
    customer: Thing, methods: list[Thing], invoices: list[Thing], here: str, back: str
) -> str:
    """Returns the customer portal: cards to add, choose and remove, and invoices."""
    chosen = customer["invoice_settings"]["default_payment_method"]
    cards = "".join(
        f"<p>{escape(each['card']['brand'])} •••• {escape(each['card']['last4'])}"
        f"{' (default)' if each['id'] == chosen else ''}</p>"
        + _button(f"{here}/default", "method", each["id"], "Make it the default")
        + _button(f"{here}/remove", "method", each["id"], "Remove")
        for each in methods
    )
    add = "".join(
        _button(f"{here}/add", "card", name, f"Add a card that ends in {CARDS[name][1]}")
        for name in CARDS
    )
    bills = "".join(
        f"<p>{escape(each['number'])}: ${each['total'] / 100:,.2f}, {each['status']}</p>"
        for each in invoices
    )
    return page("Billing", f'{cards}{add}{bills}<a class="b" href="{escape(back)}">Return</a>')


def invoice(one: Thing) -> str:
    """Returns an invoice as a page."""
    return page(
        f"Invoice {one['number']}", f"<p>${one['total'] / 100:,.2f}, {escape(one['status'])}</p>"
    )


def _button(action: str, name: str, value: str, label: str, *, is_main: bool = False) -> str:
    kind = ' class="main"' if is_main else ""
    return (
        f'<form method="post" action="{escape(action)}"><button{kind} name="{name}" '
        f'value="{escape(value)}">{escape(label)}</button></form>'
    )
