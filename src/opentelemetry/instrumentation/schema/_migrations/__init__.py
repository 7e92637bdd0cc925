"""Migrations: planned, applied under a lock, judged by what the database holds afterwards, rolled back."""
