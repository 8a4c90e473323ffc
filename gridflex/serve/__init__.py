"""The HTTP interfaces and the Ray Serve applications that carry them."""
