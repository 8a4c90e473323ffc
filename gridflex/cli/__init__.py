"""The command line: one module for each group of commands."""

from gridflex.cli.root import app, main

__all__ = ["app", "main"]
