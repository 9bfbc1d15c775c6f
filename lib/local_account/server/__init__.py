"""The connector's protocol over HTTP, and queries in flight."""
