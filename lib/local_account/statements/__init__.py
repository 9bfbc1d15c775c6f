"""One file for each kind of object or statement."""
