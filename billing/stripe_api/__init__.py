"""Stripe's API as the rest of billing sees it: plain functions, plain objects, errors of our own.

No other module imports `stripe` (import-linter holds it). Nothing here touches the database, and
nothing here is called inside a transaction: a card is never charged by what may yet roll back.
"""
