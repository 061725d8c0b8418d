"""The words check of `make lint`: what readers see has no refused words (refused.toml)."""
