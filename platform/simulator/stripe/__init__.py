"""A stand-in for Stripe: what the product uses of it, and how it misbehaves."""
