"""Receipts and invoices, as pages and as PDF."""

from html import escape

from simulator.stripe.html import day, money, page, sums
from simulator.stripe.store import Thing


def receipt_page(charge: Thing) -> str:
    """Return the receipt of a charge."""
    rows = [("Paid", charge["amount"]), ("Refunded", -charge["amount_refunded"])]
    rows.append(("Total", charge["amount"] - charge["amount_refunded"]))
    inner = f"<h1>Receipt</h1><p>{day(charge['created'])}, {escape(charge['status'])}</p>"
    return page("Receipt", f'<div class="paper">{inner}{sums(rows)}</div>')


def invoice_page(invoice: Thing) -> str:
    """Return an invoice."""
    rows = [(line["description"], line["amount"]) for line in invoice["lines"]["data"]]
    if tax := sum(each["amount"] for each in invoice["total_taxes"]):
        rows.append(("Tax", tax))
    rows.append(("Total", invoice["total"]))
    pdf = escape(invoice["invoice_pdf"])
    inner = f"""<h1>Invoice {escape(invoice["number"])}</h1>
<p>{day(invoice["created"])}, {escape(invoice["status"])}</p>{sums(rows)}
<p><a class="back" href="{pdf}">Download PDF</a></p>"""
    return page(f"Invoice {invoice['number']}", f'<div class="paper">{inner}</div>')


def invoice_pdf(invoice: Thing) -> bytes:
    """Return an invoice as a PDF of one page."""
    lines = [
        f"Invoice {invoice['number']}",
        f"{day(invoice['created'])}, {invoice['status']}",
        *(f"{line['description']}: {money(line['amount'])}" for line in invoice["lines"]["data"]),
        f"Total: {money(invoice['total'])}",
        "Test mode: no money moved.",
    ]
    return pdf(lines)


def pdf(lines: list[str]) -> bytes:
    """Return a PDF of one page with these lines of text."""
    texts = [line.encode("latin-1", "replace") for line in lines]
    shown = b" T* ".join(b"(" + _escaped(text) + b") Tj" for text in texts)
    content = b"BT /F1 12 Tf 16 TL 72 770 Td " + shown + b" ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
            b"/Resources << /Font << /F1 5 0 R >> >> >>"
        ),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    document = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(document))
        document += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    start = len(document)
    document += b"xref\n0 %d\n0000000000 65535 f \n%s" % (count, table)
    document += b"trailer\n<< /Size %d /Root 1 0 R >>\n" % count
    return document + b"startxref\n%d\n%%%%EOF\n" % start


def _escaped(text: bytes) -> bytes:
    return text.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
