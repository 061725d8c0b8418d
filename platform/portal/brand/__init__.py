"""The brand: what an operator sets of the pages' and emails' look and words."""
