"""Stripe's API as plain functions, plain objects and the errors of `billing.errors`.

This is the only package that imports `stripe`, and only `billing.payments` imports this package
(import-linter enforces both). Nothing here touches the database or may be called inside a database
transaction: a rollback can't undo a charge.
"""
