"""Keeps one installation's series, alerts and files apart from others: selector, own labels, prefix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_MATCHER: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"([^"\\]*)"\s*(?:,|$)')


class Matcher(NamedTuple):
    """One matcher of a selector."""

    label: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f'{self.label}{self.operator}"{self.value}"'


def matchers(selector: str) -> list[Matcher]:
    """The matchers of `environment="prod", team=~"a|b"`.

    Raises:
        ValueError: if the text is something else.
    """
    found: list[Matcher] = []
    at = 0
    while at < len(selector):
        match = _MATCHER.match(selector, at)
        if not match:
            raise ValueError(f'{selector[at:]!r} is not a list of matchers such as environment="prod",team=~"a|b"')
        found.append(Matcher(*match.groups()))
        at = match.end()
    return found


def listed(names: str) -> list[str]:
    """The names of a list that commas separate."""
    return [name.strip() for name in names.split(",") if name.strip()]


class Scope:
    """The installation that the parameters describe.

    Attributes:
        further: the own labels beside `job`: those of the parameter, and those that the selector names. Every series
            and alert keeps the labels that the selector names, so that two selectors never give equal ones.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values
        self._selector = matchers(values["selector"])
        named = [*listed(values["own_labels"]), *(matcher.label for matcher in self._selector)]
        self.further = [label for label in dict.fromkeys(named) if label != "job"]

    def form(self, name: str, form: str | None) -> str | None:
        """The text that replaces a mark of the scope; None for the mark of a plain parameter."""
        if name == "selector" and form == "telemetry":  # for alerts whose `team` is the platform's
            return _selector([str(matcher) for matcher in self._selector if matcher.label != "team"], "more")
        if name == "selector":
            return _selector([str(matcher) for matcher in self._selector], form)
        if name == "collector":
            chosen = matchers(self.values["collector_selector"])
            if form == "own":
                return ", ".join(dict.fromkeys(["job", *self.further, *(matcher.label for matcher in chosen)]))
            return _selector([f'job=~"{self.values["collector_job"]}"', *map(str, chosen)], form)
        if name == "own":
            return self._own(form)
        if name == "prefix":
            return _prefix(self.values["prefix"], form)
        return self._error_ratio() if name == "promised" else None

    def _own(self, form: str | None) -> str:
        further = self.further
        if form == "variables":  # in a link to a dashboard
            return "".join(f"&var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in ["job", *further])
        if form == "further":  # likewise, where there is no job
            return "".join(f"&var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in further)
        if form == "drill":  # in a link from a table's row
            return "".join(f"&var-{label}=${{__data.fields.{label}:percentencode}}" for label in ["job", *further])
        if form in ("link_open", "link_close"):  # around a query whose label `panel` is such a link
            return self._linked(form == "link_open")
        if form == "where":
            return "{{ $labels.job }}" + self._own("beside")
        if form == "beside":
            return "".join(f"{{{{ with $labels.{label} }}}}, {label} {{{{ . }}}}{{{{ end }}}}" for label in further)
        if form == "in":  # in a text about all apps
            named = [f"{{{{ with $labels.{label} }}}} {label} {{{{ . }}}}{{{{ end }}}}" for label in further]
            return " in" + ",".join(named) if named else ""
        if form == "legend":
            return " ".join(f"{{{{{label}}}}}" for label in ["job", *further])
        if form == "filters":  # by a dashboard's variables, after other matchers
            return "".join(f', {label}=~"${label}"' for label in further)
        if form == "chosen":  # likewise and by the selector, for series that have no job
            return _selector(
                [f'{label}=~"${label}"' for label in further] + [str(one) for one in self._selector], "only"
            )
        if form == "equal":
            return ", ".join(further)
        return ", ".join(["job", *further])

    def _linked(self, opening: bool) -> str:
        """Add each own label to a link in the label `panel`; a row without the label links to all values.

        The selector fixes the other labels. An alert about telemetry has the team of the platform, not of its series.
        """
        fixed = {matcher.label for matcher in self._selector}
        chosen = [label for label in self.further if label not in fixed]
        if opening:
            return "label_join(label_replace(label_replace(label_replace(" * len(chosen)
        none = {"team": self.values["platform_team"]}
        return "".join(
            f', "chosen", "$1", "{label}", "(.*)"), "chosen", "$$__all", "chosen", ""), '
            f'"chosen", "$$__all", "chosen", "{none.get(label, "")}"), "panel", "&var-{label}=", "panel", "chosen")'
            for label in chosen
        )

    def _error_ratio(self) -> str:
        """Failed validations over requests: of all apps, or with a scope of its own apps alone."""
        if not self.further:
            return "sum(rate(validation_errors_total[1m])) / sum(rate(api_requests_total[1m]))"
        by, selector = ", ".join(self.further), self.form("selector", "more")
        return f"""|
          sum by ({by}) (rate(validation_errors_total{{schema_name!=""{selector}}}[1m]))
          / sum by ({by}) (
            rate(api_requests_total{{http_request_method!=""{selector}}}[1m])
            or rate(api_requests_total{{schema_endpoint!=""{selector}}}[1m])
          )"""


def _selector(found: list[str], form: str | None) -> str:
    """Matchers as they are, in braces of their own (`only`), or after other matchers (`more`)."""
    text = ", ".join(found)
    if form == "only":
        return f"{{{text}}}" if text else ""
    return f", {text}" if form == "more" and text else text


def _prefix(prefix: str, form: str | None) -> str:
    """The prefix before names of files and groups, before `recorded` names, or after a `title`."""
    if not prefix:
        return ""
    if form == "recorded":
        return f"{prefix.replace('-', '_')}:"
    return f" ({prefix})" if form == "title" else f"{prefix}-"
