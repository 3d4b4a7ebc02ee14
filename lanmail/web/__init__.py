"""What httpd serves, cut by noun: house (what all pages share), app (which path leads where), guard (what holds for
each request), then a file for each family of paths."""
