"""One file per command: its options, its help page, and which work and which rendering it puts together."""
