"""Reading usage, balances and statements; nothing here changes money."""
