"""Whose image it is: the rules, the secret key, and making all ids anew."""
