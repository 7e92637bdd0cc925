"""Django Ninja."""
