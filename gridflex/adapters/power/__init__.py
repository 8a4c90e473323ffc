"""Power limits on GPUs: set through NVML, put back by a guard, recorded in PostgreSQL."""
