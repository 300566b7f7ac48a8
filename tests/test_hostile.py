"""Functions that cheat or do harm are refuted in words, and harm nobody else."""

import pytest
import torch

import opjury
from tests import hostile

QUICK = dict(operation="slice_mean", seed=0, scale=0.1, jobs=1, database="", dtypes=["float32"])


@pytest.mark.parametrize(
    ("function", "check", "words"), [pytest.param(f, *e, id=f.__name__) for f, e in hostile.HOSTILE.items()]
)
def test_hostile_functions_are_refuted(function, check, words):
    found = opjury.audit(function, checks=[check], **QUICK)
    assert [v.check for v in found.refuted] == [check]
    assert words in found.refuted[0].message


def test_what_is_printed_stays_out_of_the_report(capfd):
    found = opjury.audit(hostile.talking, checks=["agreement"], **QUICK)
    assert found.ok
    assert "nothing to see" not in capfd.readouterr().out


def test_harm_in_this_process_is_undone():
    equal, tensors_equal = torch.equal, torch.Tensor.__eq__
    for function in (hostile.patching_torch, hostile.patching_tensors, hostile.switching_gradients_off):
        opjury.audit(function, checks=["purity"], isolate=False, **QUICK)
    assert torch.equal is equal
    assert torch.Tensor.__eq__ is tensors_equal
    assert torch.is_grad_enabled()
