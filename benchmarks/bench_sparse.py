"""asv's benchmarks of the family sparse: time, ratio to the baseline, memory and error of whatever holds up."""

from opjury.faces.asv_benchmarks import benchmarks_of, costs_of


def setup_cache():
    return costs_of("sparse")


setup_cache.timeout = 7200
globals().update(benchmarks_of("sparse"))
