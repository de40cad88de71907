"""The command line; one file per subcommand, and nothing heavy is imported before a command runs."""
