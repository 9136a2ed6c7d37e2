"""The only place of `alarms` that touches the network: deadlines, bounded HTTP, AWS sessions."""
