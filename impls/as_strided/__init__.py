"""Strided views without copying, and matrices built from them."""
