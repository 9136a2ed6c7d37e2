"""The only place where a cloud SDK is touched: sessions, deadlines, error translation."""
