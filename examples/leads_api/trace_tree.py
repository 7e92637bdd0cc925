"""A trace drawn as a tree."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.instrumentation.schema.cli.tables import seconds
from rich.text import Text
from rich.tree import Tree

from sink import Span


def draw(spans: Iterable[Span]) -> Tree:
    """Draw the spans of one trace, each below its parent, with its kind, when it began and how long it took.

    A span whose parent never arrived hangs on the root, marked: the trace is then incomplete.

    Args:
        spans: of one trace, in order of their start; at least one.
    """
    spans = list(spans)
    start = min(span.start_ns for span in spans)
    tree = Tree(Text(f"trace {spans[0].trace_id}", style="bold"), guide_style="dim")
    known = {span.span_id for span in spans}

    def add(branch: Tree, children: Iterable[Span]) -> None:
        for span in children:
            add(branch.add(_label(span, start)), [child for child in spans if child.parent_span_id == span.span_id])

    add(tree, [span for span in spans if not span.parent_span_id])
    for orphan in [span for span in spans if span.parent_span_id and span.parent_span_id not in known]:
        add(tree.add(Text("parent missing", style="yellow")), [orphan])
    return tree


def _label(span: Span, start: int) -> Text:
    text = Text.assemble(
        (span.name, "bold"),
        f"  {seconds(span.duration)}",
        (f"  {span.kind}, after {seconds((span.start_ns - start) / 1e9)}", "dim"),
    )
    outcome = span.attributes.get("schema.validation.outcome")
    if outcome is not None:
        text.append(f"  {outcome}", "green" if outcome == "valid" else "red")
    problems = zip(
        span.attributes.get("schema.problem.path", ()), span.attributes.get("schema.problem.rule", ()), strict=False
    )
    for path, rule in problems:
        text.append(f"  {path}: {rule}", "yellow")
    statement = span.attributes.get("db.query.text", span.attributes.get("db.statement"))
    if statement:
        text.append("\n" + " ".join(str(statement).split())[:100], "dim")
    return text
