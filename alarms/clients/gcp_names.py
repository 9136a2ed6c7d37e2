"""How Google names what our budgets are scoped to: services by an id, projects by a number."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from alarms.clients.deadline import within
from alarms.clients.gcp import translated
from alarms.clients.gcp_calls import CALL_S, Apis, items
from alarms.errors import AccessError, BadDataError, PermanentError

_WITHIN_S = 25.0


class Names:
    """Asks once for each, and remembers: neither ever changes. Raises OutsideError where an answer may come later."""

    def __init__(self, apis: Apis) -> None:
        self._apis = apis
        self._numbers: dict[str, str] = {}
        self._lacking: dict[str, str] = {}

    def service(self, name: str) -> str | None:
        """`services/6F81-5844-456A` of `Compute Engine`, or of itself; None: there is none of that name."""
        return name if name in self._services.values() else self._services.get(name)

    def project(self, project: str) -> tuple[str, str]:
        """`projects/123` of an id, which is how Google gives it back whatever was sent; and "".

        Where it may not be asked: `projects/ID`, which Google takes as well, and why.
        """
        if project.isdigit():
            return f"projects/{project}", ""
        if project not in self._numbers and project not in self._lacking:
            try:
                self._numbers[project] = within(
                    _WITHIN_S, lambda: self._number(project), what="the question for a project"
                )
            except (AccessError, PermanentError) as error:
                self._lacking[project] = str(error)
        if project in self._lacking:
            return f"projects/{project}", self._lacking[project]
        return self._numbers[project], ""

    def forget_failures(self) -> None:
        """What could not be asked may be by now."""
        self._lacking.clear()

    @cached_property
    def _services(self) -> dict[str, str]:
        return within(_WITHIN_S, self._catalog, what="the catalog of services")

    def _catalog(self) -> dict[str, str]:
        doing = self._apis.doing(
            "the question for the names of services", "Cloud Billing", "Cloud Billing to list them"
        )
        found: dict[str, str] = {}
        for service in items(doing, "services", self._apis.catalog.list_services):
            # Two services may have one name; which of them was billed the export does not say either.
            found.setdefault(service.display_name, service.name)
        return found

    def _number(self, project: str) -> str:
        needs = f"resourcemanager.projects.get on project {project}"
        doing = self._apis.doing("the question for the number of a project", "Cloud Resource Manager", needs)
        with translated(doing):
            import google.api_core.exceptions

            errors: Any = google.api_core.exceptions
            answer = self._apis.session.get(self._apis.address(f"/v3/projects/{project}"), timeout=CALL_S)
            if not answer.ok:
                raise errors.from_http_response(answer)
            name = str(answer.json()["name"])
        if not name.removeprefix("projects/").isdigit():
            raise BadDataError("Cloud Resource Manager answered with something that is no number of a project")
        return name
