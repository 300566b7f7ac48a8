"""Norms and normalisation."""
