"""Gymnasium environments for the planning policy."""

if __name__ == "envs":
    raise ImportError("import gridflex.envs instead of the bare folder envs")
