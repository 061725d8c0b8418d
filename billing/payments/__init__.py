"""Payments through Stripe: orders, refunds, disputes, plans, promotions and reconciliation.

A webhook only says that something may have changed. The current state is fetched from Stripe and
booked by functions that are idempotent and safe to call at any time, in any order.
"""
