"""One setting says at what is measured, in memory and in every record."""

import pickle

import msgspec
import pytest

from opjury.choose import setting_of
from opjury.model import records
from opjury.model.records import Alarm
from opjury.model.setting import Setting
from opjury.track.history import Series
from tests.made_up import measurement, recommendation

SETTING = Setting(operation="cumsum", sizes=dict(rows=1, n=1000), dtype="float32")


def alarm(**more):
    told = dict(kind="time", machine="m", before=1.0, after=2.0, since="2026-01-01", commits=("a", "b"), command="c")
    return Alarm(implementation="torch_cumsum", **msgspec.structs.asdict(SETTING), **told, **more)


@pytest.mark.parametrize("record", [measurement(), recommendation(), alarm()], ids=lambda record: type(record).__name__)
def test_a_record_has_the_fields_of_its_setting(record):
    assert record.setting == SETTING
    assert records.decode(records.encode(record)).setting == SETTING
    assert Series.of(record) == (SETTING, "torch_cumsum")
    assert Series.of(record).name == "cumsum:torch_cumsum"


def test_settings_are_keys_whatever_the_order_of_their_sizes():
    other = msgspec.structs.replace(SETTING, sizes=dict(n=1000, rows=1))
    assert other == SETTING
    assert hash(SETTING) == hash(other)
    assert pickle.loads(pickle.dumps(SETTING)) == SETTING
    assert msgspec.json.decode(msgspec.json.encode(SETTING), type=Setting) == SETTING
    changes = dict(operation="gather", sizes=dict(n=1), dtype="float64", device="cuda", gradient=True, threads=2)
    changed = [msgspec.structs.replace(SETTING, **{name: value}) for name, value in changes.items()]
    assert len({SETTING, *changed}) == 7


def test_a_setting_is_shown_in_short():
    assert str(SETTING) == "cumsum rows=1 n=1000 float32 cpu"
    assert str(msgspec.structs.replace(SETTING, gradient=True, sizes={})) == "cumsum float32 cpu backward"


def test_what_is_left_out_of_a_setting_is_usual():
    usual = setting_of("circulant")
    found = setting_of("circulant", {}, gradient=True)
    assert found == msgspec.structs.replace(usual, gradient=True)
    assert (usual.dtype, usual.device, usual.threads) == ("float32", "cpu", 1)


def test_an_alarm_of_a_verdict_has_no_sizes():
    line = msgspec.json.decode(records.encode(alarm()))
    bare = {name: value for name, value in line.items() if name not in ("sizes", "dtype")}
    found = records.decode(msgspec.json.encode({**bare, "kind": "verdict", "check": "laws"}))
    assert (found.sizes, found.dtype, found.shown_sizes) == ({}, "", "")
