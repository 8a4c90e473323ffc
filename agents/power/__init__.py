"""Power limits on the GPUs that runs hold."""
