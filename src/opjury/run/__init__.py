"""Worker processes, and what is sent to them, whatever is judged or measured there."""
