"""The command line: what can be asked for at a terminal, and what is said there."""
