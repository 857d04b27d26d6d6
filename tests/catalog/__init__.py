"""The catalog, over SQLite and over a real PostgreSQL server."""
