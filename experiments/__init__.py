"""The claims of the paper rerun at a small size, for docs/paper.md."""
