"""What a schema is, whatever library it came from: its fields, its version, and what a change of it breaks.

Standard library only, so that a Git hook can use it without importing the application.
"""
