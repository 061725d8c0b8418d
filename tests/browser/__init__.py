"""Journeys through the whole service in a real browser. A package: its fixtures end with it."""
