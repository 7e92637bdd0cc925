"""The tools that migrate, each driven as a process of its own."""
