"""Tables and every SQL statement: records in, records out."""
