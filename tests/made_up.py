"""Records that nobody measured, for the tests of what is made from records."""

import msgspec

from benchmarks.figures import reporting
from opjury.model.records import Measurement, Night, Recommendation, Verdict

HERE = reporting.WHERE
ELSEWHERE = msgspec.structs.replace(HERE, processor="another")


def verdict(operation="cumsum", implementation="torch_cumsum", check="agreement", status="holds", **more):
    more = {"dtypes": ("float32",), "examples": 7, "environment": HERE, **more}
    return Verdict(operation=operation, implementation=implementation, check=check, status=status, **more)


def measurement(operation="cumsum", implementation="torch_cumsum", n=1000, ratio=1.0, **more):
    defaults = dict(
        sizes=dict(rows=1, n=n), dtype="float32", seconds=1e-6 * n * ratio, reference="torch_cumsum", low=ratio * 0.98, high=ratio * 1.02,
        tied=ratio < 1.02, floor_seconds=1e-7 * n, peak_bytes=4 * n, error_ulps=1.0, environment=HERE,
    )  # fmt: skip
    return Measurement(operation=operation, implementation=implementation, ratio=ratio, **{**defaults, **more})


def recommendation(n=1000, implementation="torch_cumsum", tied=None, **more):
    tied = tied or (implementation,)
    common = dict(operation="cumsum", sizes=dict(rows=1, n=n), dtype="float32", environment=HERE)
    return Recommendation(implementation=implementation, reason="the fastest", tied=tied, **common, **more)


def night(**more):
    common = dict(date="2026-01-01T03:00:00+00:00", commit="0" * 40, machine="somewhere", profile="quick", seconds=1.0)
    return Night(**{**common, "environment": HERE, **more})


HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--<script>",
    "../../../evil",
    "{{ 7 * 7 }} {% raw %}",
    "javascript:alert(1)",
    "=HYPERLINK(1)|`*[x](y)*`",
    "\x00\x1b[31m\ud7ff",
    "",
)
