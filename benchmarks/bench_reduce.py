"""asv's benchmarks of the family reduce: time, ratio to the baseline, memory and error of whatever holds up."""

from opjury.track.asv_benchmarks import benchmarks_of, setup_cache

__all__ = ["setup_cache"]
globals().update(benchmarks_of("reduce"))
