"""The parts of the bound of a stored counterexample: `python examples/bound.py found.jsonl`.

It builds the case in this process and runs the check, which raises `Refuted`. `python -m pdb -c continue` stops there.
"""

import sys

from opjury.judge import oracle
from opjury.judge.trial import Trial
from opjury.model import records, registry
from opjury.model.case import Case

verdict = next(record for record in records.read(sys.argv[1]) if getattr(record, "counterexample", None))
operation, entry = registry.operation(verdict.operation), registry.entry(verdict.operation, verdict.implementation)
case = Case.from_json(verdict.counterexample)
print(f"f({case.code()})")

args, kwargs = case.build(verdict.device)
expected = oracle.expected(operation, case, entry.error)
print("computed ", entry.function(*args, **kwargs))
print("exact    ", expected.value)
print("bound    ", expected.bound)

args, kwargs = case.wide()
terms = (entry.error and entry.error.terms) or operation.terms
print("magnitude", oracle.magnitude(operation, case, entry.error))  # Σ|a_j·x_j|
print("terms    ", terms(*args, **kwargs))  # roundings on the longest path

registry.check(verdict.check).run(Trial(operation, entry, verdict.device), case)
