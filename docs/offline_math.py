"""Formulas as MathML, which browsers draw themselves: Sphinx's own ways need a script of a server, or LaTeX."""

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx


def _mathml(node: nodes.Node, display: str) -> str:
    math = latex2mathml.tex2mathml(node.astext(), as_block=display == "block")
    return math.replace("<math ", f'<math display="{display}" ', 1) if "display=" not in math else math


def _visit_inline(self: object, node: nodes.Node) -> None:
    self.body.append(_mathml(node, "inline"))
    raise nodes.SkipNode


def _visit_block(self: object, node: nodes.Node) -> None:
    self.body.append(f'<div class="math">{_mathml(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer `mathml`."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
