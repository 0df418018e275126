"""Results as typed columns, and tables of other libraries."""
