"""Tests leave the caches of whoever runs them alone, and are not influenced by what lies there."""

import collections
from pathlib import Path

import pytest

from opjury.model import declared, registry


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Of a test that is `sampled(n)` a quick run takes every n-th set of parameters. The longest tests come first."""
    here, seen = Path(__file__).parent, collections.Counter()
    items.sort(key=lambda item: not (here in item.path.parents and item.get_closest_marker("slow")))
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark:
            function = item.nodeid.partition("[")[0]
            if seen[function] % mark.args[0]:
                item.add_marker(pytest.mark.slow(reason="a sample is enough for a quick run"))
            seen[function] += 1


@pytest.fixture
def declarations_end_with_the_test():
    """What a test declares is gone after it."""
    registry.workloads()
    tables = [*declared.TABLES, declared.own]
    saved = [table.copy() for table in tables]
    yield
    for table, content in zip(tables, saved, strict=True):
        table.clear()
        table.update(content)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A folder of this run's, common to all its processes."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if folder.name.startswith("popen-") else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield
