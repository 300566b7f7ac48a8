"""Records: read back as written, whole or not at all, with clear errors."""

import json

import msgspec
import pytest
import torch

from opjury import records
from opjury.records import Verdict

ONE = Verdict(
    operation="cumsum",
    implementation="torch_cumsum",
    check="agreement",
    status="holds",
    dtypes=("float32",),
    examples=7,
    error_ulps=float("inf"),
    environment=records.environment(),
)


def test_round_trip_with_non_finite_floats_as_strings(tmp_path):
    assert json.loads(records.encode(ONE))["error_ulps"] == "inf"
    records.write(tmp_path / "found.jsonl", [ONE, ONE])
    assert list(records.read(tmp_path / "found.jsonl")) == [ONE, ONE]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a record"),
        ('{"record": "verdict"}', "missing required field `operation`"),
        ('{"record": "verdict", "operation": 3, "implementation": "b", "check": "c", "status": "holds"}', "operation"),
        ('{"record": "verdict", "operation": "a", "implementation": "b", "check": "c", "status": "fine"}', "status"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    (tmp_path / "found.jsonl").write_text(f"{records.encode(ONE).decode()}\n{line}\n")
    with pytest.raises(ValueError, match=r"line 2:.*" + message):
        list(records.read(tmp_path / "found.jsonl"))


def test_records_of_the_format_before_are_read_and_others_are_refused():
    old = {k: v for k, v in json.loads(records.encode(ONE)).items() if k not in ("file", "line")} | {"format": 1}
    assert msgspec.structs.replace(records.decode(json.dumps(old)), format=records.FORMAT) == ONE
    with pytest.raises(records.NoRecord, match="a record of format 3; this version of opjury reads formats 1 and 2"):
        records.decode(json.dumps(old | {"format": 3}))


def test_an_environment_is_the_same_at_any_time_and_may_lack_what_older_records_do_not_tell():
    here = records.environment()
    records.environment.cache_clear()
    assert records.environment() == here
    assert f"OpenMP {torch.__config__.show().partition('OpenMP ')[2].split()[0]}" in here.build
    older = {name: value for name, value in msgspec.to_builtins(here).items() if name not in ("clock", "build")}
    line = json.dumps({**json.loads(records.encode(ONE)), "environment": older})
    assert records.decode(line).environment == msgspec.structs.replace(here, clock="", build="")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "found.jsonl"
    records.write(path, [ONE])

    def breaking():
        yield ONE
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        records.write(path, breaking())
    assert list(records.read(path)) == [ONE]
    assert [p.name for p in tmp_path.iterdir()] == ["found.jsonl"]


def test_the_schema_describes_every_field():
    fields = records.schema()["$defs"]["Verdict"]["properties"]
    assert set(fields) == {"record", *(f.encode_name for f in msgspec.structs.fields(Verdict))}
