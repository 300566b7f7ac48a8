"""Addressing by index."""
