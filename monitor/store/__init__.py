"""The database: schema and migrations, ledger, alarm states, outbox, facts for `status`."""
