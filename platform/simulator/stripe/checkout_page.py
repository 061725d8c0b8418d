"""The page on which a person pays: a form, and a test card for each way it can go."""

from html import escape

from simulator.stripe.cards import CARDS, Card
from simulator.stripe.html import alert, button, link, money, page, sums
from simulator.stripe.store import Thing

COUNTRIES = {"US": "United States", "GB": "United Kingdom", "DE": "Germany", "IN": "India"}
VERBS = {"payment": "Pay", "subscription": "Subscribe for", "setup": "Save card"}


def checkout_page(session: Thing, known: Thing, error: str = "", chosen: str = "") -> str:
    """Return the page of an open session.

    known: the customer, where there is one. chosen: the test card that was tried before.
    """
    mode = session["mode"]
    total = session["amount_total"]
    verb = VERBS[mode] if total is None else f"{VERBS[mode]} {money(total)}"
    email = known.get("email") or session["customer_email"] or ""
    form = f"""
<form class="paper" method="post" action="{escape(session["url"])}/pay">
  <h2>Who pays</h2>
  {_field("email", "Email", email, kind="email", hint="email")}
  {_field("name", "Name", known.get("name") or "", hint="name")}
  {_address(known.get("address") or {})}
  <fieldset><legend>Test payment method</legend>{_choices(mode, chosen)}</fieldset>
  {alert(error)}
  <button class="main">{escape(verb)}</button>
</form>"""
    back = link(session["cancel_url"], "Go back without paying")
    left = f"<div>{_summary(session)}{back}</div>"
    return page("Checkout", f'<div class="columns">{left}{form}</div>', kind="wide")


def authentication_page(session: Thing, card: str) -> str:
    """Return the page on which a cardholder's bank asks whether it is them."""
    action = f"{session['url']}/authenticate"
    yes = button(action, "Complete authentication", kind="main", card=card, result="complete")
    no = button(action, "Fail authentication", card=card, result="fail")
    return page(
        "3-D Secure",
        '<div class="paper"><h1>3-D Secure</h1><p>The bank of this test card asks whether it is '
        f'really you.</p><div class="stack">{yes}{no}</div></div>',
    )


def _summary(session: Thing) -> str:
    if session["mode"] == "setup":
        return "<h1>Save a card</h1><p>It pays later, when you are away. Nothing is due now.</p>"
    lines = session["simulated"]["lines"]
    rows = [(line["description"] or "Item", line["amount_subtotal"]) for line in lines]
    if session["automatic_tax"]["enabled"]:
        rows.append(("Tax", session["total_details"]["amount_tax"]))
    rows.append(("Total", session["amount_total"]))
    recurring = lines[0]["price"]["recurring"]
    each = f" each {recurring['interval']}" if recurring else ""
    heading = f'<h1>Checkout</h1><p class="total">{money(session["amount_total"])}{each}</p>'
    return heading + sums(rows)


def _field(name: str, label: str, value: str, *, kind: str = "text", hint: str = "") -> str:
    return (
        f'<div class="field"><label for="{name}">{label}</label><input id="{name}" name="{name}" '
        f'type="{kind}" autocomplete="{hint}" value="{escape(value)}"></div>'
    )


def _address(known: Thing) -> str:
    here = known.get("country") or "US"
    options = "".join(
        f'<option value="{code}"{" selected" if code == here else ""}>{name}</option>'
        for code, name in COUNTRIES.items()
    )
    code = known.get("postal_code") or ""
    return (
        '<div class="pair"><div class="field"><label for="country">Country</label>'
        f'<select id="country" name="country" autocomplete="country">{options}</select></div>'
        f"{_field('postal_code', 'Postal code', code, hint='postal-code')}</div>"
    )


def _choices(mode: str, chosen: str) -> str:
    """Return the test cards to choose from; a bank debit serves for single payments only."""
    offered = {
        name: card for name, card in CARDS.items() if mode == "payment" or not card.is_delayed
    }
    checked = chosen if chosen in offered else "pm_card_visa"
    return "".join(_choice(name, card, name == checked) for name, card in offered.items())


def _choice(name: str, card: Card, is_checked: bool) -> str:
    return (
        f'<label class="choice"><input type="radio" name="card" value="{name}"'
        f"{' checked' if is_checked else ''}><span>{escape(card.label)}</span>"
        f'<span class="digits">{card.brand.title()} •••• {card.last4}</span></label>'
    )
