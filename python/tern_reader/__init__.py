"""Reads .tern containers. Written from spec/FORMAT.md and spec/CODECS.md; see README.md."""

from .container import Container, Tensor, open_container
from .errors import TernError

__all__ = ["Container", "Tensor", "TernError", "open_container"]
