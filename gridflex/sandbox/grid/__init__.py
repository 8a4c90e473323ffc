"""A server that answers like the GB grid data providers, from recorded or simulated series."""
