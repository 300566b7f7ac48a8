"""The example plug-in, installed and audited; plug-ins that cannot be used are named and left out."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from opjury import implementation
from opjury.model import declared

EXAMPLE = Path(__file__).parents[1] / "examples" / "thirdparty"


def opjury(folder, *arguments):
    """`opjury …` with a folder of installed packages."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "opjury", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    source, target = tmp_path_factory.mktemp("source") / "thirdparty", tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLE, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)
    return target


def plugin(folder, name, code):
    """A package in a folder as an installation leaves it there, declaring implementations and contracts."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = "".join(f"[opjury.{group}]\n{name} = {name}\n" for group in ("impls", "properties"))
    (info / "entry_points.txt").write_text(groups)


@pytest.mark.slow(reason="a whole audit, as a user runs it")
def test_the_example_is_listed_and_holds_up(installed):
    assert "suffix_sum" in opjury(installed, "list").stdout
    found = opjury(installed, "audit", "suffix_sum", "--seed", "0")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "exclusive†" in found.stdout


def test_its_contract_fits_together(installed):
    program = "import opjury; print(opjury.check_contract('suffix_sum'))"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=installed, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.slow(reason="a whole audit, as a user runs it")
def test_its_competitor_for_a_built_in_operation_holds_up(installed):
    found = opjury(installed, "audit", "slice_mean:narrowed", "--seed", "0", "--dtype", "float32")
    assert found.returncode == 0, found.stdout + found.stderr


def test_functions_of_installed_modules(installed):
    options = ("--check", "agreement", "--dtype", "float32", "--seed", "0")
    one = opjury(installed, "audit", "opjury_example:narrowed", "--as", "slice_mean", *options)
    assert one.returncode == 0, one.stdout + one.stderr
    module = opjury(installed, "audit", "opjury_example", "--as", "slice_mean", *options)
    assert module.returncode == 1
    assert "triangular_matmul" in module.stdout


@pytest.mark.slow(reason="a whole audit, as a user runs it")
def test_the_installed_suites_judge_the_operation_of_a_plugin(installed, tmp_path):
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-rA", "--opjury-operation", "suffix_sum"]
    command = [sys.executable, "-m", "pytest", *options, "--pyargs", "opjury.properties"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_check[agreement-suffix_sum-exclusive-all-cpu]" in done.stdout
    assert "test_check[agreement-suffix_sum-flipped_cumsum-float32-cpu]" in done.stdout
    assert "cumsum-torch_cumsum" not in done.stdout


@pytest.mark.parametrize(
    ("module", "twice"), [("benchmarks.x", False), ("opjury.benchmarks.x", False), ("mine.benchmarks.x", True)]
)
def test_a_checkout_beside_the_installed_package_declares_the_same(module, twice):
    """As asv imports it."""
    with declared.apart() as found:
        for name, file in (("opjury.benchmarks.x", "installed/x.py"), (module, "checkout/x.py")):
            scope = {"__name__": name}
            exec(compile("def scan(x, dim):\n    return x.cumsum(dim)\n", file, "exec"), scope)
            with pytest.raises(ValueError, match="twice") if twice and name == module else contextlib.nullcontext():
                implementation("cumsum")(scope["scan"])
    assert len(found) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError"),
        ("import opjury\nopjury.Operation('lacking', 'no reference', kind='exact')", "reference"),
        (
            "import opjury\n@opjury.implementation('slice_mean')\ndef python_loop(x, slices):\n    return x",
            "declared twice",
        ),
    ],
    ids=["import", "reference", "twice"],
)
def test_a_plugin_that_cannot_be_used_is_named_and_left_out(tmp_path, code, reason):
    plugin(tmp_path, "spoilsport", code)
    found = opjury(tmp_path, "list")
    assert found.returncode == 0
    assert "slice_mean" in found.stdout
    assert "spoilsport" in found.stderr
    assert reason in found.stderr
