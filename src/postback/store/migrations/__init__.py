"""The control store's schema, revision by revision. A new revision also moves HEAD."""

from __future__ import annotations

__all__ = ["HEAD"]

HEAD = "0020"
