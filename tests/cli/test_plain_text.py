"""Names of folders, groups, arrays and values are printed as they are, whatever they look like."""

import io
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console
from support.folders import TINY

from gramdyn.cli import main, run
from gramdyn.cli.progress import Progress
from gramdyn.plan import load_config, make_plan

ODD = "[/x] [red] :smile:"


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command in this process, where JAX has started; what it prints."""
    monkeypatch.setattr(run, "use_all_cores", lambda: None)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["gramdyn", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert not ended.value.code, told.err
        return told.out

    return call


def test_a_folder_that_looks_like_markup(command, tmp_path):
    folder = tmp_path / ODD
    words = ["run", TINY, "-o", folder, "--set", "runtime.devices=1"]
    assert f"results in {folder}; " in command(*words)
    assert f"the folder that was there is {folder}.old-1 now" in command(*words, "--force")
    assert ODD in command("list", folder)
    assert "finished" in command("status", folder)


def test_the_bar_on_a_terminal_shows_names_as_they_are():
    plan = make_plan(load_config(TINY))
    told = io.StringIO()
    shown = Progress(Console(file=told, width=200, force_terminal=True))
    shown.begin(plan)
    shown.compiling(replace(plan.groups[0], name=ODD))
    shown.bar.refresh()
    shown.end()
    assert ODD in told.getvalue()


@pytest.mark.parametrize("deep", ["there", "there/not/yet"])
def test_room_is_that_of_the_disk_where_the_folder_will_be(monkeypatch, tmp_path, deep):
    (tmp_path / "there").mkdir()
    asked = []

    def usage(path):
        asked.append(path)
        return SimpleNamespace(free=7e9)

    monkeypatch.setattr(run.shutil, "disk_usage", usage)
    told = run._space(make_plan(load_config(TINY)), tmp_path / deep)
    assert asked == [tmp_path / "there"]
    assert "7 GB free on disk" in told
