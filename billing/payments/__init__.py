"""Money in and out through Stripe: orders, refunds, disputes, plans, codes, and their proof.

Stripe's webhooks only say that something may have changed. What has changed is asked of Stripe,
and booked by functions that may be called at any time, in any order, and as often as one likes.
"""
