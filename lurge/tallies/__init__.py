"""What a report adds up while it is shown a scan: tallies that add, merge and give rows."""
