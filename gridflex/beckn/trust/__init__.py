"""Who may be believed: keys, signatures, and the check of what arrives."""
