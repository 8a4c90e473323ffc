"""Selling half-hours: how much, to whom, in which order, and where each sale stands."""
