"""The guard: judges a migration by what production does after it, and notifies."""
