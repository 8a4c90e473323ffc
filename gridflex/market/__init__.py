"""Flexibility as a product: baselines, P415 artefacts, settlement, billing."""
