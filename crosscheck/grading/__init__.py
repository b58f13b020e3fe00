"""Whole courses: many submissions marked in isolation, journalled, and written in the formats of platforms."""
