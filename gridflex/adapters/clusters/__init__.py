"""Ray clusters and their GPUs: the Job API, and who holds what."""
