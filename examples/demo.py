"""Which of the published ways to take means of slices hold up? Run by `make demo`."""

import warnings

import torch

import opjury
from opjury.cli.terminal import console, show_audit
from opjury.model import registry

warnings.filterwarnings("ignore", "Sparse CSR tensor support")
x = torch.arange(40.0).reshape(10, 4)
slices = torch.tensor([[3, 5], [1, 8], [4, 8], [6, 9]])
entries = [entry for entry in registry.implementations("slice_mean") if "cpu" in entry.devices]
means = {tuple(entry.function(x, slices)[:, 0].tolist()) for entry in entries}
print("Means of slices of arange(40) as 10 x 4: rows 3-4, 1-7, 4-7 and 6-8.")
print(f"The first column from each of {len(entries)} implementations: {' or '.join(map(str, map(list, means)))}")

print("\nOn generated cases:\n")
show_audit(opjury.audit("slice_mean", profile="quick", scale=0.5, seed=0, database=""), all_verdicts=False)
console.print("\nYour own function: opjury audit path/to/file.py:function --as slice_mean")
