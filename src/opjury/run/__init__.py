"""Where work is done: worker processes, and what is sent to them. Nothing here knows what is judged or measured."""
