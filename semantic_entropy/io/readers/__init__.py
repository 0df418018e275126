"""Readers of inputs that other programs wrote: one module for each format, and what they share.

`input_file` opens a file or standard input, `detection` finds the format, and `grouping` joins rows with one response
each. JSON lines and Parquet, which are outputs too, are in `io` itself.
"""
