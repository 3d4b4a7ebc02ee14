"""How settings are called on pages, in English and German, and what they mean in German."""
