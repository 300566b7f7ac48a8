"""The command `opjury`."""
