"""The page for people at the server's root, and what a browser may do on it."""

from __future__ import annotations

import base64
import hashlib
import re

from arxiv_hybrid.inference.classifier import TextClassifier
from arxiv_hybrid.reporting.page import render

_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.S)


class Page:
    """The page as bytes, and its headers, which allow its own scripts and styles only.

    name: of the model, as people know it.
    """

    def __init__(self, classifier: TextClassifier, name: str) -> None:
        origin = classifier.origin
        content = {
            "name": name,
            "model": str(classifier),
            "generated": origin is not None and origin.synthetic,
        }
        html = render("serve.html", content)
        policy = (
            "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; "
            f"form-action 'none'; frame-ancestors 'none'; style-src {_hashes(html, 'style')}; "
            f"script-src {_hashes(html, 'script')}"
        )
        self.html = html.encode()
        self.headers = (
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-cache"),
        )


def _hashes(html: str, tag: str) -> str:
    """The SHA-256 of each inline element with this tag, as Content-Security-Policy wants them."""
    digests = (
        hashlib.sha256(text.encode()).digest()
        for name, text in _INLINE.findall(html)
        if name == tag
    )
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
