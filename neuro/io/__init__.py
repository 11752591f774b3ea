"""Files: graphs, records, run folders, and nested values as arrays and JSON."""
