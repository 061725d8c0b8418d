"""Approving a device that signs in, or an app that asks for a key."""
