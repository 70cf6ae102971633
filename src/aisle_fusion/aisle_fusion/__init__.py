"""Shelf events from weights, and who took what."""
