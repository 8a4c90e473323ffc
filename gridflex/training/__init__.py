"""Ray Tune and RLlib entry points."""
