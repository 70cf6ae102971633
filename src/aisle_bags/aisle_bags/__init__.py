"""Bags: recording, replay, import of recordings, scores against labels."""
