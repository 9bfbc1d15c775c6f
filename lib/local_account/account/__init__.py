"""The account on disk: catalog, sessions, locks, stored files, the server process."""
