"""The language of a page: chosen by the browser, or by its reader."""
