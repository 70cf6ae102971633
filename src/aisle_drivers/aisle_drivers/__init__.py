"""Cameras, scales and gates: hardware, network streams and files."""
