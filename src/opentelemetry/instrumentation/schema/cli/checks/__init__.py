"""What `doctor` looks at: a file each for an app's environment, its command, a Prometheus, and what was measured."""
