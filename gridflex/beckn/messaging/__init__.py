"""What every participant does: receives, keeps, answers and sends messages."""
