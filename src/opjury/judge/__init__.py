"""Deciding what is right: drawing cases, computing what must come out, checking, judging."""
