"""Beckn over HTTP and in PostgreSQL."""
