"""The project's account: session, project, the scripts of sql/, readiness, writing rows to tables."""
