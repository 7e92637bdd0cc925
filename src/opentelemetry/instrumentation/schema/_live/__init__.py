"""What the application watches of its schemas while it runs."""
