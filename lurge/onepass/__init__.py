"""One pass: every scan is read once, and shown to the tallies of all reports that are due."""
