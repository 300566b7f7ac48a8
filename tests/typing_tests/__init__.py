"""What a type checker sees of the declarations: checked by mypy, never run."""
