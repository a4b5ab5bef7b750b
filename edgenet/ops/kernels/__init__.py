"""Ops that have a faster form than their definition: one folder each, ``reference.py`` the definition."""
