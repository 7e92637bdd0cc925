"""Pydantic."""
