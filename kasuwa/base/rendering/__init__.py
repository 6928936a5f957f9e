"""What runs in a picture's child process: Pillow and msgspec, nothing else of the server.

`kasuwa.base.imaging` starts these processes and speaks with them.
"""
