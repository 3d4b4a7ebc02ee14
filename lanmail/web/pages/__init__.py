"""The web interface: a file for each page or family of pages; `frame` is what all share."""
