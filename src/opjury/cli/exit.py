"""The exit statuses of all commands."""

GOOD, BAD, USAGE, NOTHING = 0, 1, 2, 3
"""All is as declared; something is refuted or slower; the request is wrong; nothing was executed, or a check is undecided."""
