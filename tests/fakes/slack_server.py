"""The simulated Slack with scripted answers, so that a test says what the other side does."""

from __future__ import annotations

from monitor.simulation.slack import Answer, SlackServer


class ScriptedSlack(SlackServer):
    """Gives the answers of `script` first, then behaves. `posts` counts every request."""

    def __init__(self, *script: Answer) -> None:
        super().__init__()
        self.script = list(script)
        self.posts = 0

    def answer(self, body: bytes) -> Answer:
        self.posts += 1
        return self.script.pop(0) if self.script else super().answer(body)
