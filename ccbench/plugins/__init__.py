"""What a generator is, how an installed one is found, checked and started anew; and the controls."""
