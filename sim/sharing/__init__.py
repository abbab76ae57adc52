"""Copies of recordings to give away: without the text, and without what tells of its owner."""
