"""Work that the account does on image files on a stage, checking and decoding, and the code that it runs."""
