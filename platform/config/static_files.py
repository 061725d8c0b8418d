"""Static files with their content's hash in the name, which browsers may keep for good."""

from typing import Any

from whitenoise.storage import CompressedManifestStaticFilesStorage

from config import env


class HashedFiles(CompressedManifestStaticFilesStorage):
    """Names files by their content, once `collectstatic` has collected them.

    Without collected files, as in development and tests, each keeps its plain name.
    """

    support_js_module_import_aggregation = True
    manifest_strict = False

    def stored_name(self, name: str) -> str:
        """Return the name with the hash, or the plain one."""
        is_collected = self.hashed_files and not env.flag("DEVELOPMENT")
        stored: Any = super().stored_name(name) if is_collected else name
        return str(stored)

    def hashed_name(self, name: str, content: Any = None, filename: str | None = None) -> str:
        """Return the name with the hash; a file that isn't there keeps its name.

        Libraries mention such files, in comments and as source maps.
        """
        try:
            return str(super().hashed_name(name, content, filename))  # type: ignore[no-untyped-call]
        except ValueError:
            return name
