"""Pages for people, each one file that opens without a network."""
