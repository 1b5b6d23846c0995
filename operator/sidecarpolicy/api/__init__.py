"""The SidecarPolicy resource: its models, its schema and the names it uses."""
