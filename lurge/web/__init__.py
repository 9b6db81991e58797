"""Web pages over the database, and the same as JSON: read-only, each visitor within their sight."""
