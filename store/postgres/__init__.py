"""PostgreSQL: the database of those who want a server."""
