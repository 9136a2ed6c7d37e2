"""One file per cloud: its alarms and budgets as twins of ours."""
