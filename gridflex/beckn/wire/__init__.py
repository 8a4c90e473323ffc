"""Beckn messages as they travel: their envelope, what they carry, and why one is refused."""
