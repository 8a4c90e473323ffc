"""Beckn 2.0 without I/O: messages, signing, contract states, registry records."""
