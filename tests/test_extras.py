"""opjury works without the extras of its installation; what needs one says which."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from opjury.cli.main import run
from opjury.model.modules import EXTRAS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = [module for modules in EXTRAS.values() for module in modules]
WINGS = {"track": "track", "report": "report", "scale": "cluster", "judge/database.py": "team"}
"""The extra that the files of a folder import from; those of database.py within functions alone."""


def distributions(requirements):
    return {re.split(r"[^\w.-]", each)[0].lower().replace("_", "-") for each in requirements}


def test_twelve_dependencies_are_mandatory():
    assert len(PROJECT["dependencies"]) <= 12


def imported():
    """Each file of the package and a module that it imports, for type checkers alone left out."""
    for path in sorted((ROOT / "src" / "opjury").rglob("*.py")):
        tree = ast.parse(path.read_text())
        typing = [
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ]
        left_out = {id(node) for block in typing for node in ast.walk(block)}
        for node in ast.walk(tree):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names if id(node) not in left_out else ():
                yield path.relative_to(ROOT / "src" / "opjury").as_posix(), name.partition(".")[0]


def test_every_import_is_declared():
    owners, undeclared = metadata.packages_distributions(), []
    for file, module in imported():
        if module in sys.stdlib_module_names or module == "opjury" or file in ("plugin.py", "testing.py"):  # pytest's
            continue
        extras = [extra for start, extra in WINGS.items() if file.startswith(start)]
        lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
        if not distributions(owners.get(module, [module])) & set().union(*map(distributions, lists)):
            undeclared.append((file, module))
    assert undeclared == []


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_the_modules_that_are_looked_for(extra):
    owners = metadata.packages_distributions()
    declared = distributions(PROJECT["optional-dependencies"][extra])
    found = [distributions(owners.get(module, [module])) for module in EXTRAS[extra]]
    assert set().union(*found) == declared


COMMANDS = {
    "report": ("report", "opjury report"),
    "track run": ("track", "opjury track run"),
    "track check": ("track", "opjury track check"),
    "track nightly": ("report", "opjury track nightly"),
    "audit circulant --cluster tcp://127.0.0.1:1": ("cluster", "a cluster"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_extra_is_named(command, monkeypatch, capsys, tmp_path):
    extra, what = COMMANDS[command]
    for module in EXTRAS[extra]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(
        sys,
        "argv",
        ["opjury", *command.split(), *["--history", str(ROOT / "reports" / "history")] * ("audit" not in command)],
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"opjury: {what} needs the extra `{extra}`: pip install 'opjury[{extra}]'\n"


WITHOUT = """
import sys
for name in {modules}:
    sys.modules[name] = None
from opjury.cli.main import run
for command in {commands}:
    sys.argv = ["opjury", *command]
    try:
        run()
    except SystemExit as ended:
        assert not ended.code, command
"""
COMMANDS_OF_THE_SPINE = (
    "--help",
    "track --help",
    "track compare --help",
    "list",
    "audit circulant:broadcasted_index --check agreement --dtype float32 --json found.jsonl",
    "merge found.jsonl --json all.jsonl",
    "replay found.jsonl --help",
    "report found.jsonl --format md",
)


def test_everything_else_works_without_extras(tmp_path):
    commands = [command.split() for command in COMMANDS_OF_THE_SPINE]
    script = WITHOUT.format(modules=[*MODULES, "pytest"], commands=commands)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "broadcasted_index" in done.stdout
