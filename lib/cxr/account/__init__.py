"""Where we stand: the session, the objects that sql/ makes, what is ready, how rows are written."""
