"""What a frame shows, measured: its attributes in words, and how often they are right."""
