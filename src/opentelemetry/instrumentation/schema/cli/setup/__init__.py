"""What `otel-schema init` finds in a project and writes for it."""
