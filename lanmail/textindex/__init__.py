"""Full-text indexes: which documents may hold a text and which do for sure; filling them."""
