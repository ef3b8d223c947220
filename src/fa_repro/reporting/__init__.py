"""The report over all runs."""
