"""Prices, carbon intensity, demand and wind: the providers, and what they said in PostgreSQL."""
