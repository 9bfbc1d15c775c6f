"""What an account does with image files where they lie: look at them, decode them; and the code that does it."""
