"""What was traded and settled, as the ledger has it, and the files that go in and out."""
