"""The HTTP edge: what stands between the socket and the APIs, and knows no shop."""
