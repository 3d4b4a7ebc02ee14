"""OAuth2 as a client: the tokens that fetching and sending log in with at other providers.

    apps       conf/apps/NAME.toml and the presets of providers
    keys       the keys that tokens are encrypted with on disk
    store      what is known of each address: state/oauth/refresh (ours alone), state/tokens (what readers read)

Only lanmail-tokend and `lanmail oauth` speak to token endpoints, both through this package and under its locks.
"""
