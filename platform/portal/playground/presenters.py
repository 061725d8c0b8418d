"""What the playground's script starts with: models, and texts in the reader's language."""

from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext as _

from api.catalogue.snapshot import Snapshot
from portal.ui.operation_texts import operation_texts
from portal.ui.prices import price_list
from portal.ui.script_texts import relay_texts
from portal.ui.shell import REQUEST_URL


def page_data(snapshot: Snapshot) -> dict[str, Any]:
    """Return the models that are sold now, and the translations of the OpenAPI document's texts."""
    return {
        "models": [
            {
                "name": model.name,
                "title": model.label,
                "kind": model.kind,
                "inputs": model.entry.input_modalities,
            }
            for model in price_list(snapshot)
        ],
        "request_url": REQUEST_URL,
        "descriptions": {
            text: translated
            for text in sorted(operation_texts())
            if (translated := gettext(text)) != text
        },
    }


def page_texts() -> dict[str, str]:
    """Return the texts of the page's script, by its names for them."""
    return relay_texts() | {
        "not_loaded": _("The API description couldn’t be loaded. Reload the page."),
        "more_fields": _("More fields ({number})"),
        "in_progress": _("Request in progress."),
        "lost": _("The connection was lost. Try again."),
        "not_set": _("Not set"),
        "above": _("above {above}"),
        "above_at_most": _("above {above}, at most {most}"),
        "from_to": _("{least} to {most}"),
        "at_least": _("at least {least}"),
        "at_most": _("at most {most}"),
        "further_fields": _("Additional fields"),
        "further_fields_help": _(
            "A JSON object merged into the request. Unknown fields are passed to the model."
        ),
        "optional": _("(optional)"),
        "text_or_json": _("Text, or JSON"),
        "json_array": _("A JSON array"),
        "json": _("JSON"),
        "required": _("This field is required."),
        "enter_number": _("Enter a number."),
        "enter_whole_number": _("Enter a whole number."),
        "enter_or_more": _("Write {number} or more."),
        "enter_or_less": _("Write {number} or less."),
        "enter_more": _("Write more than {number}."),
        "no_json": _("This is no JSON: {reason}"),
        "enter_json": _("Write JSON that is {types}."),
        "either": _("{first} or {second}"),
        "type_array": _("an array"),
        "type_boolean": _("a boolean"),
        "type_integer": _("an integer"),
        "type_number": _("a number"),
        "type_object": _("an object"),
        "type_string": _("a string"),
        "first_byte": _("First byte"),
        "total": _("Total"),
        "tokens": _("Tokens"),
        "cost": _("Cost"),
        "requests_left": _("Requests left"),
        "left_of": _("{left} of {limit}"),
        "tokens_in_out": _("{input} in, {output} out"),
        "not_shown": _("… the rest is not shown"),
        "sound": _("{size} bytes of {type}"),
        "answer": _("The answer"),
        "ms": _("{number} ms"),
    }
