"""The YAML files of every command, shipped inside the package."""
