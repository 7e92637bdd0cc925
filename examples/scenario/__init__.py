"""The whole story, replayed with real programs: docs/scenario.md."""
