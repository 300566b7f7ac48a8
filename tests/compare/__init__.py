"""Functions of other people's released libraries, held to the contracts here: `make compare`."""
