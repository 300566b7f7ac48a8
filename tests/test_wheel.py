"""The wheel holds what the tree holds but for developers' scripts, and works by itself."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a wheel, and `installed`, what is in it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, cwd=folder)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "installed")
    return folder


def test_the_wheel_holds_what_the_tree_holds(folder):
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    tree = [path for kind in ("py", "html", "css", "js") for path in (ROOT / "src/opjury").rglob(f"*.{kind}")]
    sources = {f"opjury/{path.relative_to(ROOT / 'src/opjury')}" for path in tree} | {"opjury/py.typed"}
    for part in ("impls", "properties", "benchmarks"):
        sources |= {
            f"opjury/{path.relative_to(ROOT)}" for path in (ROOT / part).rglob("*.py") if path.parent.name != "figures"
        }
    assert inside == sources
    program = "from opjury import registry; print(len(registry.implementations()), len(registry.operations()), registry.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(folder / "installed")},
        cwd=folder,
    )
    implementations, operations, where = done.stdout.split()
    assert int(implementations) >= 45
    assert int(operations) >= 4
    assert where.startswith(str(folder))


@pytest.mark.slow(reason="a suite in a process of its own")
def test_the_suites_run_from_the_wheel(folder, tmp_path):
    options = "-p no:cacheprovider -p no:xdist -rA --opjury-operation circulant --opjury-scale 0.05 --pyargs opjury.properties"
    program = (
        "import sys, opjury.properties, pytest; print(opjury.properties.__file__); sys.exit(pytest.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *options.split()],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(folder / "installed")},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(str(folder / "installed"))
    assert "test_check[agreement-circulant-broadcasted_index-float32-cpu]" in done.stdout
