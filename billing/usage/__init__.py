"""Read-only queries of usage, balances and statements."""
