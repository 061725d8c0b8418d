"""Loading of upstreams' keys from a catalogue file.

The file decides which keys come from which environment variables, and the limits of the keys that
it names. A key that staff have typed stays with its row as long as the base URL is the same.
"""

from collections.abc import Callable, Iterable, Mapping

from api.catalogue.file import UpstreamKeyTable, UpstreamTable
from api.models import Upstream, UpstreamKey
from api.models.upstream_keys import FIRST_NAME

# The columns of a key that the file sets. Secrets are not among them.
COLUMNS = [field for field in UpstreamKeyTable.__struct_fields__ if field != "name"]
NO_SECRET = {"encrypted_key": "", "key_end": "", "key_set_at": None}

Note = Callable[[str, str, str], None]


def write_keys(
    tables: Iterable[UpstreamTable],
    upstreams: Mapping[str, Upstream],
    former_urls: Mapping[str, str],
    note: Note,
) -> None:
    """Write the keys of a file's upstreams, and report each with `note(kind, what, name)`.

    `former_urls` are the base URLs before the load: a stored key was typed for that one.
    """
    for table in tables:
        upstream = upstreams[table.name]
        rows = {row.name: row for row in upstream.keys.all()}
        if former_urls.get(table.name, upstream.base_url) != upstream.base_url:
            for row in rows.values():
                _change(row, NO_SECRET)
        named = table.keys
        if table.api_key_env:
            named = [UpstreamKeyTable(name=FIRST_NAME, api_key_env=table.api_key_env)]
        for key in named:
            _write_key(upstream, rows.pop(key.name, None), key, table, note)
        for row in rows.values():
            _keep_typed(row, note)


def _write_key(
    upstream: Upstream,
    row: UpstreamKey | None,
    key: UpstreamKeyTable,
    table: UpstreamTable,
    note: Note,
) -> None:
    # The short form says nothing of limits.
    fields = COLUMNS if table.keys else ["api_key_env"]
    columns = {field: getattr(key, field) for field in fields}
    name = f"{upstream.name} {key.name}"
    if row is None:
        UpstreamKey.objects.create(upstream=upstream, name=key.name, **columns)
        note("key", "added", name)
    elif changed := _change(row, columns):
        note("key", "changed", f"{name} ({', '.join(changed)})")
    else:
        note("key", "unchanged", name)


def _keep_typed(row: UpstreamKey, note: Note) -> None:
    """Keep a key that the file doesn't name if it is stored; remove one from a variable."""
    if row.encrypted_key:
        if _change(row, {"api_key_env": ""}):
            note("key", "changed", f"{row} (api_key_env)")
    elif row.api_key_env or not row.has_secret:
        name = str(row)
        row.delete()
        note("key", "removed", name)


def _change(row: UpstreamKey, columns: Mapping[str, object]) -> list[str]:
    """Save the columns that differ, and return their names."""
    changed = [field for field, value in columns.items() if getattr(row, field) != value]
    for field in changed:
        setattr(row, field, columns[field])
    if changed:
        row.save(update_fields=changed)
    return changed
