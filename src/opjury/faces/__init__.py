"""What people see: the terminal now, pages and files later."""
