"""Selling energy half-hour by half-hour under P415, and settling what was sold."""
