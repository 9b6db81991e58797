"""The programs: each turns scans, names and quotas into rows, tables and files."""
