"""Stand-ins for outside services that speak the same HTTP: recorded grid, Beckn network."""
