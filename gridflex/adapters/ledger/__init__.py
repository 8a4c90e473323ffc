"""The ledger in PostgreSQL: its one writer, its key, its files."""
