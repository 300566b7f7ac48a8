"""Every claim has the verdict that was found with the tested versions. Another one is news, and names both versions."""

import pytest

from opjury.model import registry
from opjury.model.environment import environment

TESTED = "torch 2.13.0, NumPy 2.4.6, SciPy 1.17.1"


@pytest.mark.parametrize("claim", registry.claims(), ids=lambda claim: claim.name)
def test_claim(claim, record_property):
    verdict, evidence = claim.judge()
    record_property("evidence", evidence)
    here = environment()
    now = f"torch {here.torch}, NumPy {here.numpy}, SciPy {here.scipy}"
    assert verdict == claim.expected, (
        f"«{claim.text}» was {claim.expected} with {TESTED}; it is {verdict} with {now}: {evidence}"
    )
