"""`archive` and its commands, a file each; they return whether all is well."""
