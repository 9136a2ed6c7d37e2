"""What touches the network for the others: deadlines, bounded HTTP, AWS sessions."""
