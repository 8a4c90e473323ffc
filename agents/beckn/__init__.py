"""Trading over Beckn."""
