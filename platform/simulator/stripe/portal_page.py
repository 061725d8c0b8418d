"""The customer portal's page: cards, subscription, invoices."""

from html import escape

from simulator.stripe.cards import CARDS
from simulator.stripe.html import alert, button, day, link, money, page
from simulator.stripe.store import Thing


def portal_page(
    session: Thing,
    customer: Thing,
    *,
    methods: list[Thing],
    subscriptions: list[Thing],
    invoices: list[Thing],
    error: str = "",
) -> str:
    """Return the page of a portal session."""
    here = session["url"]
    chosen = customer["invoice_settings"]["default_payment_method"]
    cards = "".join(_card(here, each, each["id"] == chosen) for each in methods)
    plans = "".join(_plan(here, each) for each in subscriptions)
    bills = "".join(_bill(each) for each in invoices)
    who = escape(customer["email"] or customer["name"] or customer["id"])
    parts = (
        _part("Subscription", plans or _nothing("There is no subscription.")),
        _part("Payment methods", (cards or _nothing("No card is kept.")) + _add(here)),
        _part("Invoices", bills or _nothing("There are no invoices.")),
        link(session["return_url"], "Return to the service"),
    )
    heading = f'<h1>Billing</h1><p class="quiet">{who}</p>{alert(error)}'
    return page("Billing", heading + "".join(parts))


def _part(title: str, inner: str) -> str:
    return f'<section class="paper"><h2>{title}</h2>{inner}</section>'


def _nothing(text: str) -> str:
    return f'<p class="quiet">{text}</p>'


def _card(here: str, method: Thing, is_chosen: bool) -> str:
    shown = method.get("card") or {"brand": "Bank", **method.get("us_bank_account", {})}
    name = f"{shown['brand'].title()} •••• {shown['last4']}"
    badge = '<span class="badge">Default</span>'
    choose = button(f"{here}/default", "Make default", about=name, method=method["id"])
    remove = button(f"{here}/remove", "Remove", about=name, method=method["id"])
    state = badge if is_chosen else choose
    return f'<div class="row"><span class="grow">{escape(name)}</span>{state}{remove}</div>'


def _add(here: str) -> str:
    options = "".join(
        f'<option value="{name}">{escape(card.label)} ({card.brand.title()} •••• {card.last4})'
        "</option>"
        for name, card in CARDS.items()
        if not card.is_delayed
    )
    return (
        f'<form class="row" method="post" action="{escape(here)}/add"><div class="grow">'
        f'<label for="card">Test card</label><select id="card" name="card">{options}</select></div>'
        "<button>Add card</button></form>"
    )


def _plan(here: str, subscription: Thing) -> str:
    item = subscription["items"]["data"][0]
    price = money(item["price"]["unit_amount"])
    end = day(item["current_period_end"])
    fields = {"subscription": subscription["id"]}
    if subscription["cancel_at_period_end"]:
        text, action = f"ends on {end}", button(f"{here}/resume", "Resume subscription", **fields)
    else:
        text, action = f"renews on {end}", button(f"{here}/cancel", "Cancel subscription", **fields)
    state = f'<span class="badge">{escape(subscription["status"])}</span>'
    return (
        f'<div class="row"><span class="grow">{price} each {item["price"]["recurring"]["interval"]}'
        f", {text}</span>{state}{action}</div>"
    )


def _bill(invoice: Thing) -> str:
    number = escape(invoice["number"])
    return (
        f'<div class="row"><span class="grow"><a href="{escape(invoice["hosted_invoice_url"])}">'
        f"{number}</a>, {day(invoice['created'])}</span><span>{money(invoice['total'])}</span>"
        f'<span class="badge">{escape(invoice["status"])}</span>'
        f'<a href="{escape(invoice["invoice_pdf"])}" aria-label="PDF of {number}">PDF</a></div>'
    )
