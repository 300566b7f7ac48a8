"""What people see: the terminal, pages, files for other programs."""
