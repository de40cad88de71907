"""The store of trained stages: what is in it, and what may go."""

from calls import assert_refused, call, run_arguments


def test_the_cache_is_listed_and_pruned(readings, tmp_path):
    for method in ("reading", "text"):
        assert call(*run_arguments(readings, tmp_path, method=method)).code == 0
    cache = ["--cache", tmp_path / "cache"]
    listed = call("cache", "list", *cache).out
    assert "reading of reading" in listed
    assert "text of text" in listed
    assert "2 stages" in listed
    (tmp_path / "cache" / "stages" / "0123" / "checkpoint").mkdir(parents=True)
    assert "0123       0.0 MiB  unfinished" in call("cache", "list", *cache).out
    pruned = call("cache", "prune", *cache, "--keep", tmp_path / "out" / "text")
    assert (pruned.code, pruned.out) == (0, "2 stages removed, 1 kept.\n")
    assert "1 stages" in call("cache", "list", *cache).out
    assert call("evaluate", tmp_path / "out" / "text" / "seed-0", *cache, "--split", "val").code == 0
    assert_refused(call("evaluate", tmp_path / "out" / "reading" / "seed-0", *cache), "--cache")


def test_pruning_keeps_what_an_unfinished_run_has_begun_and_what_is_in_use(readings, tmp_path):
    from awase.training.store import StageStore

    for method in ("reading", "text"):
        assert call(*run_arguments(readings, tmp_path, method=method)).code == 0
    prune = ["cache", "prune", "--cache", tmp_path / "cache", "--keep", tmp_path / "out"]
    (tmp_path / "out" / "reading" / "seed-0" / "record.json").unlink()
    assert call(*prune).out == "0 stages removed, 2 kept.\n"
    store = StageStore(tmp_path / "cache")
    (tmp_path / "cache" / "stages" / "0123").mkdir()
    with store.lock("0123"):
        assert call(*prune).out == "0 stages removed, 3 kept, 1 of them in use.\n"
    assert call(*prune).out == "1 stages removed, 2 kept.\n"


def test_an_empty_cache_is_no_error(tmp_path):
    result = call("cache", "list", "--cache", tmp_path / "nosuch")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("0 stages, 0.0 MiB")
