"""The registry: the champion, and the model to serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from untrained_model import log_untrained_model

from arxiv_hybrid.params import Params
from arxiv_hybrid.system.errors import UserError
from arxiv_hybrid.tracking import find_model_to_serve, track, training_seconds

pytestmark = pytest.mark.usefixtures("outside_settings_unset")


def test_a_registry_that_does_not_answer_is_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9: cannot be queried: "):
        find_model_to_serve(tmp_path, "papers", lambda: "any")


@pytest.mark.filterwarnings("default")
def test_the_champion_is_the_best_on_the_same_papers(tiny_params: Params, store: Path) -> None:
    import mlflow

    def registered(digest: str, accuracy: float, papers: str = "same") -> str:
        with track("evaluate", tiny_params, root=store, workspace=store) as run:
            result = run.register("papers", digest, accuracy, papers)
        assert result is not None
        return result

    first, second = (log_untrained_model(tiny_params, store, seed) for seed in (1, 2))
    with pytest.raises(UserError, match="no registered model papers, and no run that logged"):
        find_model_to_serve(store, "papers", lambda: "of no run")
    assert find_model_to_serve(store, "papers", lambda: first).uri.startswith("runs:/")
    assert "no run in this store logged model" in registered("of no run", 0.9)
    assert registered(first, 0.80).endswith("version 1, 80.00%: champion")
    assert "other test papers" in registered(second, 0.99, "others")
    assert "version 1 stays champion with 80.00%" in registered(second, 0.80)
    assert registered(second, 0.81).endswith("version 2, 81.00%: champion")
    assert registered(second, 0.81).endswith("version 2, 81.00%: champion"), "registered once only"
    model = find_model_to_serve(store, "papers", lambda: pytest.fail("not needed"))
    assert model.uri == "models:/papers@champion"
    with track("evaluate", tiny_params, root=store, workspace=store) as run:
        result = run.register("papers", first, 0.99, "same", metric="micro_f1")
    assert result is not None
    assert "micro-F1 99.00%" in result
    assert result.endswith("the champion, version 2, was measured by another metric")
    client = mlflow.MlflowClient(model.store)
    assert client.get_model_version_by_alias("papers", "champion").version in (2, "2")
    assert len(client.search_model_versions("name = 'papers'")) == 2


@pytest.mark.filterwarnings("default")
def test_training_seconds_add_up_the_runs_of_all_models(tiny_params: Params, store: Path) -> None:
    digests = [log_untrained_model(tiny_params, store, seed) for seed in (1, 2)]
    each = [training_seconds(store, [digest]) for digest in digests]
    assert all(seconds is not None and seconds > 0 for seconds in each)
    assert training_seconds(store, digests) == pytest.approx(sum(filter(None, each)))
    assert training_seconds(store, [*digests, "of no run"]) is None
