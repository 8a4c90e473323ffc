"""What is dealt in: blocks of compute, needs for less load, and what either earns."""
