"""The data that all other parts use: declarations (which import no torch) and their registry, cases, records and outcomes."""
