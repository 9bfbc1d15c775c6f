"""The project's account: session, project, the scripts of sql/, readiness, rows of tables, images on their stage."""
