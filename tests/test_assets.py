import hashlib
import http.server
import os
import socket
import threading
import time

import pytest
import torch

from sarbench.bench import assets, cli
from sarbench.bench.assets import Asset, AssetMissing, File
from sarbench.bench.errors import ContractError

WEIGHTS = b"PK weights" * 1000
SMALL = b"PK features only"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def server():
    """A web server on this machine that knows one good file and several bad ones."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requests.append(self.path)
            if self.path == "/absent.pth":
                return self.send_error(404)
            body = b"\n<!DOCTYPE html><html>please log in</html>" if self.path == "/page.pth" else WEIGHTS
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) * (2 if self.path == "/truncated.pth" else 1)))
            self.end_headers()
            return self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.requests = []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder in SARBENCH_ASSETS; torch's cache is an empty folder beside it."""
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "assets").mkdir()
    return tmp_path / "assets"


@pytest.fixture
def declare(monkeypatch):
    """Make the asset "net" known: the file net.pth, or small.pth in its place."""

    def declared(url="http://127.0.0.1/net.pth", digest=sha256(WEIGHTS)):
        asset = Asset("a net", url, File("net.pth", digest), len(WEIGHTS), "", (), (File("small.pth", sha256(SMALL)),))
        monkeypatch.setattr(assets, "ASSETS", {"net": asset})

    return declared


def test_a_file_is_found_in_the_given_folder(folder, declare):
    declare()
    (folder / "net.pth").write_bytes(WEIGHTS)
    assert assets.find("net") == folder / "net.pth"


def test_a_file_of_equal_content_for_our_use_is_found_too(folder, declare):
    declare()
    (folder / "small.pth").write_bytes(SMALL)
    assert assets.find("net") == folder / "small.pth"


def test_several_folders_are_searched_in_order(folder, declare, tmp_path, monkeypatch):
    declare()
    second = tmp_path / "second"
    second.mkdir()
    monkeypatch.setenv("SARBENCH_ASSETS", os.pathsep.join([str(folder), str(second)]))
    (second / "net.pth").write_bytes(WEIGHTS)
    assert assets.find("net") == second / "net.pth"
    (folder / "net.pth").write_bytes(WEIGHTS)
    assert assets.find("net") == folder / "net.pth"


def test_torchs_own_cache_is_searched_last(folder, declare, tmp_path, monkeypatch):
    declare()
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "net.pth").write_bytes(WEIGHTS)
    assert assets.find("net") == cache / "net.pth"
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert assets.find("net") == cache / "net.pth"


def test_a_missing_file_is_named_with_its_hash_and_what_to_do(folder, declare):
    declare()
    with pytest.raises(AssetMissing) as caught:
        assets.find("net")
    for words in ("net missing", "net.pth", sha256(WEIGHTS), f"SARBENCH_ASSETS={folder}", "sarbench fetch net"):
        assert words in str(caught.value)


def test_a_name_alone_is_not_enough(folder, declare):
    declare()
    (folder / "net.pth").write_bytes(SMALL)
    (folder / "small.pth").write_bytes(WEIGHTS)
    with pytest.raises(AssetMissing, match=rf"net\.pth is another file or damaged \(sha256 {sha256(SMALL)}\)"):
        assets.find("net")


def test_a_file_that_changes_is_hashed_again(folder, declare):
    declare()
    (folder / "net.pth").write_bytes(WEIGHTS)
    assets.find("net")
    time.sleep(0.01)
    (folder / "net.pth").write_bytes(WEIGHTS[:-1] + b"!")
    with pytest.raises(AssetMissing):
        assets.find("net")


def test_the_first_eight_digits_of_a_hash_can_do_and_fewer_cannot(folder, declare):
    declare(digest=sha256(WEIGHTS)[:8])
    (folder / "net.pth").write_bytes(WEIGHTS)
    assert assets.find("net") == folder / "net.pth"
    with pytest.raises(ValueError, match="8 to 64"):
        File("net.pth", sha256(WEIGHTS)[:7])


def test_an_unknown_asset_is_answered_with_the_choices(declare):
    declare()
    with pytest.raises(ContractError, match="choose from: net"):
        assets.find("nets")


def test_a_state_dict_is_loaded_and_a_pickled_program_is_not(folder, monkeypatch):
    torch.save({"w": torch.arange(3)}, folder / "good.pth")
    torch.save({"w": print}, folder / "evil.pth")
    known = {name: File(f"{name}.pth", sha256((folder / f"{name}.pth").read_bytes())) for name in ("good", "evil")}
    monkeypatch.setattr(assets, "ASSETS", {name: Asset("", "", file, 0, "", ()) for name, file in known.items()})
    assert assets.load_state_dict("good")["w"].tolist() == [0, 1, 2]
    with pytest.raises(Exception, match="weights_only"):
        assets.load_state_dict("evil")


def test_fetch_stores_the_file_where_find_finds_it(folder, declare, server):
    declare(f"http://127.0.0.1:{server.server_port}/net.pth")
    assert assets.fetch("net", folder) == folder / "net.pth"
    assert (folder / "net.pth").read_bytes() == WEIGHTS
    assert assets.find("net") == folder / "net.pth"


def test_fetch_does_not_ask_again_for_what_is_there(folder, declare, server):
    declare(f"http://127.0.0.1:{server.server_port}/net.pth")
    assets.fetch("net", folder)
    assets.fetch("net", folder)
    assert server.requests == ["/net.pth"]


def test_fetch_replaces_a_damaged_file(folder, declare, server):
    declare(f"http://127.0.0.1:{server.server_port}/net.pth")
    (folder / "net.pth").write_bytes(b"half")
    assets.fetch("net", folder)
    assert (folder / "net.pth").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("path", "digest", "words"),
    [
        ("net.pth", sha256(SMALL), f"gave a file of sha256 {sha256(WEIGHTS)}, expected {sha256(SMALL)}"),
        ("page.pth", sha256(WEIGHTS), "a web page in place of the file"),
        ("truncated.pth", sha256(WEIGHTS), "broke off after 10000 of 20000 bytes"),
        ("absent.pth", sha256(WEIGHTS), "the server says 404"),
    ],
)
def test_fetch_keeps_nothing_that_is_not_the_file(folder, declare, server, path, digest, words):
    declare(f"http://127.0.0.1:{server.server_port}/{path}", digest)
    with pytest.raises(ContractError, match=words):
        assets.fetch("net", folder)
    assert list(folder.iterdir()) == []


def test_fetch_without_a_network_says_so(folder, declare):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        declare(f"http://127.0.0.1:{unused.getsockname()[1]}/net.pth")
        with pytest.raises(ContractError, match="is this machine online"):
            assets.fetch("net", folder)
    assert list(folder.iterdir()) == []


def test_the_manifest_is_complete():
    for asset in assets.ASSETS.values():
        assert asset.url.startswith("https://")
        assert asset.url.endswith(asset.file.name)
        assert asset.about
        assert asset.licence
        assert asset.used_by


def test_torchvision_names_the_same_file_for_alexnet():
    from torchvision.models import AlexNet_Weights

    asset = assets.ASSETS["alexnet"]
    assert AlexNet_Weights.IMAGENET1K_V1.url == asset.url
    assert asset.file.sha256.startswith(asset.file.name.removesuffix(".pth").rpartition("-")[2])
    assert round(asset.size_bytes / 2**20, 3) == AlexNet_Weights.IMAGENET1K_V1.meta["_file_size"]


@pytest.mark.skipif(not os.environ.get("SARBENCH_ASSETS"), reason="set SARBENCH_ASSETS to a folder with AlexNet's weights")
def test_alexnets_features_have_torchvisions_names_and_shapes():
    weights = assets.load_state_dict("alexnet")
    assert weights["features.0.weight"].shape == (64, 3, 11, 11)
    assert weights["features.10.bias"].shape == (256,)


def test_the_command_lists_what_is_here_and_what_is_not(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SARBENCH_ASSETS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    assert cli.main(["fetch", "--list"]) == 0
    shown = capsys.readouterr().out
    assert "alexnet" in shown
    assert "not here: https://download.pytorch.org" in shown


def test_the_command_refuses_a_name_it_does_not_know_before_it_downloads(capsys):
    assert cli.main(["fetch", "alexnot"]) == 1
    assert "unknown asset 'alexnot'; choose from: alexnet" in capsys.readouterr().err
    assert cli.main(["fetch"]) == 1
    assert "name an asset" in capsys.readouterr().err
