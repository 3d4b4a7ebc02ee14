"""The answers of autoresponders: who may get one, who got one, and what it says."""
