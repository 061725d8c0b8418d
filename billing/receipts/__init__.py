"""Proofs of charges that need no trust in us: signed receipts, and Merkle roots of closed days."""
