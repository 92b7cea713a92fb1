"""The environments of peers: made once, and what cannot be installed is told."""

import ast
import glob
import json
import os

import environments
import pytest


def with_pins(monkeypatch, *pins):
    monkeypatch.setitem(
        environments.PEERS, "some", environments.Peer("backfill.py", list(pins), (1, 0))
    )


def test_what_cannot_be_installed_is_told_with_pips_last_line(monkeypatch, tmp_path):
    with_pins(monkeypatch, str(tmp_path / "no_such_directory"))
    with pytest.raises(RuntimeError, match=r"^pip: ERROR: .*no_such_directory"):
        environments.make("some", str(tmp_path))
    assert not (tmp_path / ".venv-peer-some" / "pins").exists()


def test_an_environment_is_made_once_and_again_for_other_pins(monkeypatch, tmp_path):
    with_pins(monkeypatch, "pip")  # which is there, so that nothing is fetched
    python = environments.make("some", str(tmp_path))
    assert os.access(python, os.X_OK)
    mine = tmp_path / ".venv-peer-some" / "mine"
    mine.write_text("kept")
    assert environments.make("some", str(tmp_path)) == python and mine.exists()
    with_pins(monkeypatch, "pip>1")
    assert environments.make("some", str(tmp_path)) == python and not mine.exists()


def test_each_program_is_started_with_its_threads(monkeypatch):
    with_pins(monkeypatch)
    (one, variables), (every, _) = environments.commands("some", "python", {"rows": 5})
    assert json.loads(one[-1]) == {"rows": 5, "threads": 1}
    assert json.loads(every[-1]) == {"rows": 5, "threads": 0}
    assert os.path.exists(one[-2])
    assert variables == {"PYTHONPATH": environments.SCRIPTS}


def test_programs_of_peers_import_nothing_of_ours_but_turns(scripts):
    """They run where neither this package nor what its scripts need is installed."""
    ours = {os.path.basename(path)[:-3] for path in glob.glob(os.path.join(scripts, "*.py"))}
    programs = glob.glob(os.path.join(scripts, "peers", "*.py"))
    for path in programs:
        with open(path, encoding="utf-8") as file:
            tree = ast.parse(file.read())
        names = {
            name.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for name in node.names
        }
        names |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert names & (ours | {"partial_embed"}) <= {"turns"}
    peers = {peer.program for peer in environments.PEERS.values()}
    assert peers == {os.path.basename(path) for path in programs} - {"on_torch.py"}
