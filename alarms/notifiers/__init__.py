"""One module per kind of receiver: `type = "NAME"` in the config is the module NAME here."""
