"""What it costs: one file per operation, in family folders."""
