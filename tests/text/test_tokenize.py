from __future__ import annotations

from arxiv_hybrid.text.tokenize import tokenize


def test_tokens_follow_the_published_rules() -> None:
    assert tokenize("GPT-4's  new\tScore: 91.5%!") == ["gpt-4", "s", "new", "score", "91", "5"]
    assert tokenize("naïve β-VAE") == ["na", "ve", "-vae"]
    assert tokenize("数学 !?") == []
    assert tokenize("a\u2028b\x1cc\ud800d \N{KELVIN SIGN}") == ["a", "b", "c", "d", "k"]
