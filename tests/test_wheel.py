"""The wheel holds everything that the tree holds, and works by itself."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_what_the_tree_holds(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, cwd=tmp_path)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
        wheel.extractall(tmp_path / "installed")
    sources = {f"opjury/{path.relative_to(ROOT / 'src/opjury')}" for path in (ROOT / "src/opjury").rglob("*.py")} | {
        "opjury/py.typed"
    }
    for folder in ("impls", "properties", "benchmarks"):
        sources |= {
            f"opjury/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*.py") if path.name != "conftest.py"
        }
    assert inside == sources
    program = "from opjury import registry; print(len(registry.implementations()), len(registry.operations()), registry.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
    )
    implementations, operations, where = done.stdout.split()
    assert int(implementations) >= 45
    assert int(operations) >= 4
    assert where.startswith(str(tmp_path))
