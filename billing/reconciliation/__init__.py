"""Reconciliation with upstreams: their usage exports beside our records."""
