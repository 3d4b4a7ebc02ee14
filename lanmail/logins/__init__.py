"""Who may log in with what: keys, grants and tokens as flat files; who has to wait, who was here last."""
