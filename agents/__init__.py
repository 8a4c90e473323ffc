"""The three long-lived agents: workload, grid, orchestrator."""

if __name__ == "agents":
    raise ImportError("import gridflex.agents instead of the bare folder agents")
