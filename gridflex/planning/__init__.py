"""The optimiser: which half-hours, site and mode each job runs in, and how good that is."""
