"""Makes a believable site, to try everything on: scan files, names, quotas and a configuration."""
