"""webargs."""
