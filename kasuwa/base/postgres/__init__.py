"""The embedded PostgreSQL: its binaries, its data folder, the process that runs it, and its roles."""
