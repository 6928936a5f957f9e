"""Kasuwa: an open commerce backend that speaks three APIs over one shop."""

__version__ = "0.1.0"
