"""Frames: where they come from, how they wait, and the time they carry."""
