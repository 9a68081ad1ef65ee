"""SAM 2 with a bounded memory bank."""
