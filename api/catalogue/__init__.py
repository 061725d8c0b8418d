"""The catalogue: rows that staff edit, a file that loads them, a snapshot to serve by."""
