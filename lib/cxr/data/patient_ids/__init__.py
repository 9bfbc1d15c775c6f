"""Patient ids: the rules, the secret key, and computing all ids again."""
