"""What each part of a method contributes: variants of it, trained and scored alike, against the full one."""
