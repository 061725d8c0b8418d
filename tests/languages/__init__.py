"""The catalogues of translations: what is in them, and whether all of it is translated."""
