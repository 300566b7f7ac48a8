"""The mutation machinery: mutants are made, named, loaded and refuted; entries of equivalent.json name mutants that exist."""

import json
import textwrap

import pytest
import torch

from opjury.model import registry
from opjury.model.implementation import Implementation
from opjury.run.ship import import_file
from tests import state_of_sources
from tests.mutation.__main__ import Journal
from tests.mutation.mutants import EQUIVALENT, Outcome, equivalent, killed_by, mutants_of


def by_name(entry):
    return {mutant.name: mutant for mutant in mutants_of(entry)}


def test_mutants_are_made_loaded_and_refuted():
    entry = registry.entry("circulant", "rolled_rows")
    mutants = by_name(entry)
    further = mutants["circulant:rolled_rows, integers: backward.roll(i + 1) → backward.roll(i + 2)"]
    c = torch.arange(3)
    assert further.load().function(c).tolist() == entry.function(c).roll(1, 1).tolist()
    assert killed_by(further).checks == ("agreement",)
    assert further.place_in_file.startswith("impls/as_strided/circulant.py:")


SOURCE = """
import torch


def running(x, dim):
    '''Sums.'''
    if dim >= x.ndim:
        raise IndexError(f"dim is {dim + 1}")
    return helped(x, 1 + dim - 1) + helped(x, 1 + dim - 1)


def helped(x, dim):
    return torch.cumsum(x, dim) / (1 + 1)


def other(x):
    return x + 1
"""


def declared(path, source):
    path.write_text(textwrap.dedent(source))
    return Implementation("cumsum", "running", import_file(str(path)).running)


def test_names_are_different_and_stay_when_lines_move(tmp_path):
    one = list(mutants_of(declared(tmp_path / "first_place.py", SOURCE)))
    moved = list(mutants_of(declared(tmp_path / "second_place.py", SOURCE.replace("import torch", "import torch\n\n"))))
    names = [mutant.name for mutant in one]
    assert len(set(names)) == len(names)
    assert [mutant.name for mutant in moved] == names
    assert [mutant.line for mutant in moved] == [mutant.line + 2 for mutant in one]
    assert (
        "cumsum:running, conditions: if dim >= x.ndim: raise IndexError(f'dim is {dim + 1}') → if False: raise"
        in "\n".join(names)
    )
    assert not any("dim + 2" in name for name in names), "words of an error are changed"
    assert not any("x + 1" in name for name in names), "a function that is not used is changed"


def test_entries_name_mutants_that_exist():
    assert equivalent([]) == {}
    assert all(reason.strip() for reason in json.loads(EQUIVALENT.read_text()).values())


def test_equivalent_mutants_are_known_by_name(tmp_path):
    one, other, *_ = mutants_of(registry.entry("circulant", "rolled_rows"))
    file = tmp_path / "equivalent.json"
    file.write_text(json.dumps({one.name: "the same", other.of_any_implementation: "the same everywhere"}))
    assert equivalent([one, other], file) == {one.name: "the same", other.name: "the same everywhere"}


@pytest.mark.parametrize("stale", ["cumsum:torch_cumsum, signs: nothing → so", "cumsum:nobody, signs: a → b"])
def test_a_stale_entry_is_an_error(tmp_path, stale):
    file = tmp_path / "equivalent.json"
    file.write_text(json.dumps({stale: "it once was"}))
    with pytest.raises(ValueError, match="1 entries name no mutant"):
        equivalent([], file)


def test_outcomes_are_remembered_for_the_same_sources_alone(tmp_path):
    mutant = next(mutants_of(registry.entry("circulant", "rolled_rows")))
    line = {"mutant": mutant.name, "by": "killed_by", "checks": ["laws"], "seconds": 1.5, "sources": state_of_sources()}
    file = tmp_path / "outcomes.jsonl"
    file.write_text(json.dumps(line | {"checks": ["form"], "sources": "others"}) + "\n" + json.dumps(line) + "\n")
    assert Journal(str(file)).outcomes(killed_by, [mutant], 1) == {mutant.name: Outcome(("laws",), 1.5)}
    file.write_text(json.dumps(line | {"sources": "others"}) + "\n")
    assert Journal(str(file)).known == {}
