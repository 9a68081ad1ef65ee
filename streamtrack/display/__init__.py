"""Masks drawn onto pictures."""
