"""Files with many groups: readers, writers, and runs that resume."""
