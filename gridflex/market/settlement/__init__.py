"""What was earned: volumes, losses, compensation, runs and their reports."""
