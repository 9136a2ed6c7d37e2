"""One module per billing source: `type = "NAME"` in the config is the module NAME here."""
