"""SciPy sparse arrays."""
