"""Short messages: the [sms] settings, the GSM alphabet, spool files of SMS programs, and gateways by HTTP."""
