"""What a unit would have used: rules, their quality, and what was submitted in time."""
