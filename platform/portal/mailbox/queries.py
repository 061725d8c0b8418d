"""Reading the emails that Django's file backend wrote into `MAIL_DIR`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

_END = b"-" * 79 + b"\n"  # what the backend writes after each email of a file
_SHOWN = 200


@dataclass(frozen=True)
class Email:
    """An email as it was sent. `id` names it in addresses."""

    id: str
    to: str
    sender: str
    subject: str
    sent_at: datetime | None
    text: str
    html: str


def emails(folder: Path) -> list[Email]:
    """Return the latest emails of the folder (at most 200), newest first."""
    files = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    found: list[Email] = []
    for path in files:
        if len(found) >= _SHOWN:
            break
        found += reversed(list(_emails_of(path)))
    return found[:_SHOWN]


def find_email(folder: Path, email_id: str) -> Email | None:
    """Return the email of this id, if there is one."""
    match = re.fullmatch(r"(\d+-\d+-\d+)-(\d+)", email_id)
    path = folder / f"{match[1]}.log" if match else None
    if match is None or path is None or not path.is_file():
        return None
    return next((each for each in _emails_of(path) if each.id == email_id), None)


def _emails_of(path: Path) -> Iterator[Email]:
    for number, raw in enumerate(path.read_bytes().split(_END)):
        if raw.strip():
            yield _parse(f"{path.stem}-{number}", raw)


def _parse(email_id: str, raw: bytes) -> Email:
    message = message_from_bytes(raw, _class=EmailMessage, policy=policy.default)
    date = message["Date"]
    return Email(
        id=email_id,
        to=str(message["To"] or ""),
        sender=str(message["From"] or ""),
        subject=str(message["Subject"] or ""),
        sent_at=date.datetime if date is not None else None,
        text=_body(message, "plain"),
        html=_body(message, "html"),
    )


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body(preferencelist=(kind,))
    return str(part.get_content()) if part is not None else ""
