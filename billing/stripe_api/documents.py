"""Where Stripe keeps receipts and invoices: asked when somebody wants to see one."""

from billing.stripe_api.client import calling


def receipt_url(charge_id: str) -> str:
    """Returns the address of a charge's receipt; empty where it has none. Raises StripeError."""
    with calling() as client:
        return client.v1.charges.retrieve(charge_id).receipt_url or ""


def invoice_pdf_url(invoice_id: str) -> str:
    """Returns the address of an invoice's PDF; empty where it has none. Raises StripeError."""
    with calling() as client:
        return client.v1.invoices.retrieve(invoice_id).invoice_pdf or ""
