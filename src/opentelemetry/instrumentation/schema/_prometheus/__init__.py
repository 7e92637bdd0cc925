"""Reads our series from a /metrics endpoint or a Prometheus, and sums them up: for `top`, `doctor` and the guard."""
