"""`kasuwa doctor`: whether everything that is stored fits together, for all merchants."""
