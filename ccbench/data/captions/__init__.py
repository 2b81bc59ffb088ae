"""Text of images: its words, its files, and which attributes it states."""
