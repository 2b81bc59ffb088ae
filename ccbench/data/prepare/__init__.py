"""Data sets as they lie on disks: unpacked, checked and written anew; and conditions for other programs."""
