"""The ledger: accounts, transfers, reservations, and the SQL functions that change them."""
