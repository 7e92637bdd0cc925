"""Renders rules, dashboards and the config of Alertmanager with thresholds, labels and addresses."""
