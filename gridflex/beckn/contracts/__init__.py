"""A contract as one party sees it: its states, its life, and how it is said."""
