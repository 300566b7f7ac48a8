"""Which of the published ways to take means of slices hold up? Run by `make demo`."""

import torch

import opjury
from opjury import registry
from opjury.faces import auditing, terminal

x = torch.arange(40.0).reshape(10, 4)
slices = torch.tensor([[3, 5], [1, 8], [4, 8], [6, 9]])
print("x is arange(40) as 10 x 4; the means of its rows 3-4, 1-7, 4-7 and 6-8 begin with 14, 16, 22, 28.")
for entry in registry.implementations("slice_mean"):
    print(f"  {entry.name:28}", entry.function(x, slices)[:, 0].tolist())

print("\nOn that example all agree. On generated cases:\n")
auditing.show(opjury.audit("slice_mean", profile="quick", seed=0), all_verdicts=False)
terminal.console.print("\nYour own function: opjury audit path/to/file.py:function --as slice_mean")
