"""The command that runs the benchmarks."""

from __future__ import annotations

import pytest

from benchmarks import run


def test_every_benchmark_is_listed_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    """Listing imports all of them, and runs none."""
    run.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(run.BENCHMARKS)
    assert all(line.endswith(".") for line in lines)


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run.main(["coffee"])
    assert "no benchmark coffee: there are speed, vanilla," in capsys.readouterr().err
