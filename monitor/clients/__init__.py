"""The only place of `monitor` where a cloud SDK is touched: sessions, deadlines, error translation."""
