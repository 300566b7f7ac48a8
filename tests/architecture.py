"""The parts of `src/opjury` and what they import. `python -m tests.architecture` prints them beside the limits that they keep to."""

import ast
import collections
import graphlib
import sys
from pathlib import Path

import grimp

SOURCE = Path(__file__).parents[1] / "src" / "opjury"
LAYERS = (
    {"operation", "verify"},  # old names
    "scale",
    "report",
    "track",
    {"testing", "plugin"},
    "cli",
    "sweep",
    "choose",
    "eligible",
    "audit",
    "measure",
    "contract",
    "judge",
    "run",
    "model",
)
"""The parts from top to bottom: each imports only those below it."""
LONGEST, TOTAL = 400, 12_800  # lines
FUNCTIONS, FILES = 150, 15  # of one audit


def graph():
    """All imports, those within functions and for type checkers included."""
    found = grimp.build_graph("opjury", cache_dir=None)
    for module in found.modules:  # a source checkout adds its top level to the package's path
        place = SOURCE.joinpath(*module.split(".")[1:])
        if not place.is_dir() and not place.with_suffix(".py").is_file():
            found.remove_module(module)
    return found


def upwards(imports):
    """Every import that leads from a part to one above it."""
    found = imports.find_illegal_dependencies_for_layers(LAYERS, containers={"opjury"})
    return sorted(
        " → ".join([*sorted(route.heads)[:1], *route.middle, *sorted(route.tails)[:1]])
        for each in found
        for route in each.routes
    )


def unplaced(imports):
    """The modules beside the parts that `LAYERS` does not name."""
    known = {f"opjury.{name}" for layer in LAYERS for name in ({layer} if isinstance(layer, str) else layer)}
    return sorted(imports.find_children("opjury") - known - {"opjury.__main__"})


def circle(imports):
    """The modules of one circle of imports; nothing where there is none."""
    try:
        graphlib.TopologicalSorter(
            {module: imports.find_modules_directly_imported_by(module) - {module} for module in imports.modules}
        ).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def files():
    """The lines of each file."""
    return {path.relative_to(SOURCE): len(path.read_text().splitlines()) for path in sorted(SOURCE.rglob("*.py"))}


def names_with_two_meanings():
    """The public names that several modules define."""
    places = collections.defaultdict(list)
    for path in files():
        for node in ast.parse((SOURCE / path).read_text()).body:
            for name in _defined(node):
                if not name.startswith("_") and str(path) not in places[name]:
                    places[name].append(str(path))
    return {name: found for name, found in places.items() if len(found) > 1}


def _defined(node):
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def traced():
    """The functions of `src/opjury` that an audit of one check and one dtype goes through, by file."""
    import opjury
    import opjury.judge.database
    import opjury.judge.judge
    from opjury.model import registry

    registry.workloads()  # declaring is no part of an audit
    found = collections.defaultdict(set)

    def enter(frame, event, argument):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(SOURCE)) and "<" not in code.co_name:
            found[code.co_filename].add(code.co_qualname)

    sys.setprofile(enter)
    try:
        opjury.audit("cumsum:torch_cumsum", checks="agreement", dtypes="float32", seed=0, isolate=False, database="")
    finally:
        sys.setprofile(None)
    return found


def main():
    """Print what the limits are about."""
    lines, imports, functions = files(), graph(), traced()
    parts = collections.Counter()
    for path, count in lines.items():
        parts[path.parts[0]] += count
    for part, count in parts.items():
        print(f"{count:6,}  {part}")
    print(f"{sum(lines.values()):6,}  lines in all ({TOTAL:,} allowed)")
    longest = max(lines, key=lines.get)
    print(f"{lines[longest]:6,}  lines of the longest file, {longest} ({LONGEST} allowed)")
    print(f"{len(circle(imports)):6}  modules in a circle of imports (0 allowed)")
    print(f"{len(upwards(imports)):6}  imports of a part above (0 allowed)")
    print(f"{len(names_with_two_meanings()):6}  public names with two meanings (0 allowed)")
    print(f"{sum(map(len, functions.values())):6}  functions of one audit of one check and dtype ({FUNCTIONS} allowed)")
    print(f"{len(functions):6}  files that these functions stand in ({FILES} allowed)")


if __name__ == "__main__":
    main()
