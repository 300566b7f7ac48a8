"""Nightly tracking: the history of a machine, its change points and alarms."""
