"""What competes: one file per operation, in family folders."""
