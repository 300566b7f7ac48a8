"""The mutation score: how many small changes to right implementations the audit refutes. `python -m tests.mutation`."""
