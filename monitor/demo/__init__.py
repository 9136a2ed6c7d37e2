"""`monitor demo`: the whole main job with no account and no network."""

from monitor.demo.play import show
from monitor.demo.template import write_config

__all__ = ["show", "write_config"]
