"""Results as tables for people, one file per command; no file here computes anything."""
