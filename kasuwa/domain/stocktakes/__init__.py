"""Counting the shelves: several people, blind, while the shop goes on selling."""
