"""Forecasts of our own: what they learn from, what was trained, and how good each source is."""
