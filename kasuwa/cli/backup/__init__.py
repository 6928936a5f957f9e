"""`kasuwa backup` and `kasuwa restore`: database and files in one archive, verified both ways."""
