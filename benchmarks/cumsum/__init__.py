"""Prefix sums, and means by way of them."""
