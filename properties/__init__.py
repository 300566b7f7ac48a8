"""What must hold: one file per operation, in family folders."""
