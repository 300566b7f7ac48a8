"""What is declared: operations, implementations, workloads and claims, as plain data. Nothing here imports torch."""
