"""One module a subcommand, each with ``run(cfg) -> exit code``."""
