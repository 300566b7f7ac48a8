"""Audits on several machines: dask clusters, shards of a CI matrix, merged records."""
