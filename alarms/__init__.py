"""Decides, tells and acts. Is handed finished readings; never imports `monitor`."""
