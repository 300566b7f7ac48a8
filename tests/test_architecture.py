"""The parts of `src/opjury` import only what is below them, without circles; every name has one meaning."""

import ast
import re

import pytest

from opjury.model.modules import wing
from tests import architecture


@pytest.fixture
def imports():
    return architecture.graph()


def test_every_part_has_a_place(imports):
    assert architecture.unplaced(imports) == []


def test_no_part_imports_one_above_it(imports):
    assert architecture.upwards(imports) == []


def test_there_is_no_circle_of_imports(imports):
    assert architecture.circle(imports) == []


def test_an_import_upwards_and_a_circle_are_found(imports):
    imports.add_import(importer="opjury.model.setting", imported="opjury.judge.draw")
    assert architecture.upwards(imports) == ["opjury.model.setting → opjury.judge.draw"]
    assert {"opjury.model.setting", "opjury.judge.draw"} <= set(architecture.circle(imports))


def test_a_public_name_has_one_meaning():
    assert architecture.names_with_two_meanings() == {}


def test_no_file_is_long():
    assert {path: lines for path, lines in architecture.files().items() if lines > architecture.LONGEST} == {}


def test_a_wing_is_found_by_name():
    assert wing("scale.shards").__name__ == "opjury.scale.shards"


def test_a_docstring_begins_with_a_sentence_without_a_semicolon():
    quoted = re.compile(r'`[^`]*`|"[^"]*"')
    for path in architecture.files():
        for node in ast.walk(ast.parse((architecture.SOURCE / path).read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                first = (ast.get_docstring(node) or "").partition("\n\n")[0]
                assert ";" not in quoted.sub("", first), f"{path}: {first}"
