"""From files or generators to batches."""
