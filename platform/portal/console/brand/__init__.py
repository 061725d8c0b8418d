"""The brand's pages in the console: a draft, its previews, its publication."""
