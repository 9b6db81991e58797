"""The group splitter: the raw lines of each group, for tree servers."""
