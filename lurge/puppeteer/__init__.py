"""The puppeteer: which files are in vaults, to be kept or archived."""
