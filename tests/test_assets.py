import hashlib
import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import torch

from sarbench.bench import assets, cli, registry
from sarbench.bench.assets import Asset, AssetMissing, File
from sarbench.bench.errors import ContractError

WEIGHTS = b"PK weights" * 1000
SMALL = b"PK features only"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


PAGE = b"\n<!DOCTYPE html><html>please log in</html>"


class Handler(http.server.BaseHTTPRequestHandler):
    """One good file, with ranges, and the ways in which servers spoil it, by path."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        getattr(self, self.path[1:].removesuffix(".pth"))(start)

    def answer(self, body, start=0, *, announced=None, given=None, kind="application/octet-stream", first=None):
        """Send body[start:], of it only the first `given` bytes; `first`: where the answer claims to start."""
        if start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start if first is None else first}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(announced or len(body) - start))
        self.end_headers()
        return self.wfile.write(body[start:][:given])

    def net(self, start):
        self.answer(WEIGHTS, start)

    def no_ranges(self, start):
        self.answer(WEIGHTS)

    def breaks_off(self, start):  # 4,000 bytes at a time
        self.answer(WEIGHTS, start, given=4000)

    def always_breaks_off(self, start):
        self.answer(WEIGHTS, announced=20000)

    def breaks_off_unannounced(self, start):
        if start:
            return self.answer(WEIGHTS, start)
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        return self.wfile.write(b"2710\r\n" + WEIGHTS[:4000])

    def unannounced(self, start):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(WEIGHTS)

    def another_range(self, start):
        self.answer(WEIGHTS, start, first=start + 1)

    def page(self, start):
        self.answer(PAGE)

    def short_page(self, start):
        self.answer(b"<html>please log in</html>")

    def marked_page(self, start):
        self.answer(b"\xef\xbb\xbf" + PAGE)

    def unmarked_page(self, start):
        self.answer(b"please log in", kind="text/html; charset=utf-8")

    def page_for_the_rest(self, start):
        self.answer(WEIGHTS if not start else PAGE + WEIGHTS, start, kind="text/html" if start else "application/zip")

    def absent(self, start):
        self.send_error(404)

    def moved(self, start):
        self.send_response(302)
        self.send_header("Location", "/net.pth")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """A web server on this machine; `requests` is what it was asked: path and range."""
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
def declare(monkeypatch, server):
    """Make the asset "net" known: the file net.pth at some paths of the server, or small.pth in its place."""

    def declared(*paths, digest=sha256(WEIGHTS)):
        url, *mirrors = [f"http://127.0.0.1:{server.server_port}/{path}" for path in paths or ("net.pth",)]
        small = File("small.pth", sha256(SMALL))
        asset = Asset("a net", url, File("net.pth", digest), len(WEIGHTS), "", (), (small,), tuple(mirrors))
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


def test_pyiqas_cache_is_searched_too(folder, declare, tmp_path):
    declare()
    cache = tmp_path / "torch" / "hub" / "pyiqa"
    cache.mkdir(parents=True)
    (cache / "net.pth").write_bytes(WEIGHTS)
    assert assets.find("net") == cache / "net.pth"


@pytest.mark.parametrize("path", ["net.pth", "no_ranges.pth", "unannounced.pth", "moved.pth"])
def test_fetch_stores_the_file_where_find_finds_it(folder, declare, path):
    declare(path)
    assert assets.fetch("net", folder) == folder / "net.pth"
    assert list(folder.iterdir()) == [folder / "net.pth"]
    assert (folder / "net.pth").read_bytes() == WEIGHTS
    assert assets.find("net") == folder / "net.pth"


def test_fetch_makes_the_folder(folder, declare):
    declare()
    assert assets.fetch("net", folder / "a" / "b").read_bytes() == WEIGHTS


def test_fetch_does_not_ask_again_for_what_is_there(folder, declare, server):
    declare()
    assets.fetch("net", folder)
    assets.fetch("net", folder)
    assert server.requests == [("/net.pth", None)]


def test_fetch_replaces_a_damaged_file(folder, declare):
    declare()
    (folder / "net.pth").write_bytes(b"half")
    assets.fetch("net", folder)
    assert (folder / "net.pth").read_bytes() == WEIGHTS


def test_a_hash_of_eight_digits_is_checked_too(folder, declare):
    declare(digest=sha256(WEIGHTS)[:8])
    assert assets.fetch("net", folder).read_bytes() == WEIGHTS
    declare(digest=sha256(SMALL)[:8])
    with pytest.raises(ContractError, match=f"expected {sha256(SMALL)[:8]}"):
        assets.fetch("net", folder)


def test_a_download_goes_on_where_it_broke_off(folder, declare, server):
    declare()
    (folder / "net.pth.part").write_bytes(WEIGHTS[:6000])
    assets.fetch("net", folder)
    assert (folder / "net.pth").read_bytes() == WEIGHTS
    assert list(folder.iterdir()) == [folder / "net.pth"]
    assert server.requests == [("/net.pth", "bytes=6000-")]


def test_a_redirected_download_goes_on_where_it_broke_off(folder, declare, server):
    declare("moved.pth")
    (folder / "net.pth.part").write_bytes(WEIGHTS[:6000])
    assert assets.fetch("net", folder).read_bytes() == WEIGHTS
    assert server.requests == [("/moved.pth", "bytes=6000-"), ("/net.pth", "bytes=6000-")]


def test_a_connection_that_breaks_is_asked_for_the_rest_as_long_as_it_moves(folder, declare, server):
    declare("breaks_off.pth")
    assert assets.fetch("net", folder).read_bytes() == WEIGHTS
    assert [asked for _, asked in server.requests] == [None, "bytes=4000-", "bytes=8000-"]


def test_a_break_is_noticed_where_no_length_was_announced(folder, declare, server):
    declare("breaks_off_unannounced.pth")
    assert assets.fetch("net", folder).read_bytes() == WEIGHTS
    assert len(server.requests) == 2


def test_a_download_that_stays_cut_is_kept_as_a_part_and_never_taken_for_the_file(folder, declare):
    declare("always_breaks_off.pth", digest=sha256(WEIGHTS + WEIGHTS))
    words = r"(?s)broke off after 10000 of 20000 bytes.*10000 bytes are kept in .*net\.pth\.part"
    with pytest.raises(ContractError, match=words):
        assets.fetch("net", folder)
    assert [file.name for file in folder.iterdir()] == ["net.pth.part"]
    with pytest.raises(AssetMissing):
        assets.find("net")


def test_a_server_that_knows_no_ranges_sends_all_again(folder, declare):
    declare("no_ranges.pth")
    (folder / "net.pth.part").write_bytes(WEIGHTS[:6000])
    assert assets.fetch("net", folder).read_bytes() == WEIGHTS


@pytest.mark.parametrize("size", [6000, 10000, 12000])
def test_a_rotten_part_is_thrown_away_and_the_file_fetched_whole(folder, declare, server, size):
    declare()
    (folder / "net.pth.part").write_bytes(b"x" * size)
    assert assets.fetch("net", folder).read_bytes() == WEIGHTS
    assert server.requests == [("/net.pth", f"bytes={size}-"), ("/net.pth", None)]


def test_a_part_that_is_already_whole_needs_no_network(folder, declare, server):
    declare()
    (folder / "net.pth.part").write_bytes(WEIGHTS)
    assert assets.fetch("net", folder).read_bytes() == WEIGHTS
    assert server.requests == []


@pytest.mark.parametrize("path", ["page.pth", "marked_page.pth", "unmarked_page.pth", "page_for_the_rest.pth"])
def test_a_page_leaves_an_older_part_as_it_was(folder, declare, path):
    declare(path)
    (folder / "net.pth.part").write_bytes(WEIGHTS[:6000])
    with pytest.raises(ContractError, match="a web page in place of the file"):
        assets.fetch("net", folder)
    assert (folder / "net.pth.part").read_bytes() == WEIGHTS[:6000]


def test_an_answer_with_another_range_than_asked_for_is_refused(folder, declare):
    declare("another_range.pth")
    (folder / "net.pth.part").write_bytes(WEIGHTS[:6000])
    with pytest.raises(ContractError, match="another part of the file"):
        assets.fetch("net", folder)
    assert (folder / "net.pth.part").read_bytes() == WEIGHTS[:6000]


@pytest.mark.parametrize(
    ("path", "digest", "words"),
    [
        ("net.pth", sha256(SMALL), f"gave a file of sha256 {sha256(WEIGHTS)}, expected {sha256(SMALL)}"),
        ("page.pth", sha256(WEIGHTS), "a web page in place of the file"),
        ("short_page.pth", sha256(WEIGHTS), "a web page in place of the file"),
        ("marked_page.pth", sha256(WEIGHTS), "a web page in place of the file"),
        ("unmarked_page.pth", sha256(WEIGHTS), "a web page in place of the file"),
        ("absent.pth", sha256(WEIGHTS), "the server says 404"),
    ],
)
def test_fetch_keeps_nothing_that_is_not_the_file(folder, declare, path, digest, words):
    declare(path, digest=digest)
    with pytest.raises(ContractError, match=words):
        assets.fetch("net", folder)
    assert list(folder.iterdir()) == []


def test_a_wrong_file_is_downloaded_once_and_not_again(folder, declare, server):
    declare(digest=sha256(SMALL))
    with pytest.raises(ContractError):
        assets.fetch("net", folder)
    assert len(server.requests) == 1


@pytest.mark.parametrize("path", ["absent.pth", "page.pth", "unmarked_page.pth"])
def test_a_mirror_helps_where_the_official_server_does_not(folder, declare, server, path):
    declare(path, "net.pth")
    assert assets.fetch("net", folder).read_bytes() == WEIGHTS
    assert [asked for asked, _ in server.requests] == [f"/{path}", "/net.pth"]


def test_a_mirror_goes_on_where_the_official_server_broke_off(folder, declare, server):
    declare("always_breaks_off.pth", "net.pth", digest=sha256(WEIGHTS))
    (folder / "net.pth.part").write_bytes(WEIGHTS[:6000])
    assert assets.fetch("net", folder).read_bytes() == WEIGHTS


def test_where_every_source_fails_the_error_says_what_each_did(folder, declare):
    declare("absent.pth", "page.pth")
    with pytest.raises(ContractError) as caught:
        assets.fetch("net", folder)
    for words in ("absent.pth: the server says 404", "page.pth gave a web page", "or copy net.pth", "SARBENCH_ASSETS"):
        assert words in str(caught.value)


def test_fetch_without_a_network_says_so(folder, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        asset = Asset("", f"http://127.0.0.1:{unused.getsockname()[1]}/net.pth", File("net.pth", sha256(WEIGHTS)), 0, "", ())
        monkeypatch.setattr(assets, "ASSETS", {"net": asset})
        with pytest.raises(ContractError, match="is this machine online"):
            assets.fetch("net", folder)
    assert list(folder.iterdir()) == []


def test_a_second_process_waits_its_turn(folder, declare):
    fcntl = pytest.importorskip("fcntl")
    declare()
    with (folder / "net.pth.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ContractError, match="another process is downloading"):
            assets.fetch("net", folder)
    assert assets.fetch("net", folder).read_bytes() == WEIGHTS


def test_a_folder_that_can_not_be_written_is_named(folder, declare):
    declare()
    (folder / "file").write_bytes(b"")
    with pytest.raises(ContractError, match=r"can't write .*file"):
        assets.fetch("net", folder / "file")


@pytest.mark.parametrize("name", assets.ASSETS)
def test_the_manifest_is_complete(name):
    asset = assets.ASSETS[name]
    for url in (asset.url, *asset.mirrors):
        assert url.startswith("https://")
        assert url.rpartition("/")[2] in (asset.file.name, "pytorch_model.bin")  # which says nothing of the model
    assert asset.about
    assert asset.licence
    assert asset.used_by
    published = re.search(r"-([0-9a-f]{8})\.pth$", asset.file.name)
    assert published is None or asset.file.sha256.startswith(published[1])


@pytest.mark.parametrize("name", assets.ASSETS)
def test_the_metrics_that_an_asset_names_ask_for_it(name):
    for user in assets.ASSETS[name].used_by:
        if user.partition("@")[0] in registry.names("metrics"):
            metric = registry.load_metric(user)
            assert name in (*metric.assets, *(metric.features.assets if metric.features else ()))


@pytest.mark.parametrize(
    ("name", "builder"), [("alexnet", "AlexNet"), ("vgg16", "VGG16"), ("vgg19", "VGG19"), ("squeezenet1_1", "SqueezeNet1_1")]
)
def test_torchvision_names_the_same_file(name, builder):
    import torchvision

    official = getattr(torchvision.models, f"{builder}_Weights").IMAGENET1K_V1
    asset = assets.ASSETS[name]
    assert official.url == asset.url
    assert round(asset.size_bytes / 2**20, 3) == official.meta["_file_size"]


@pytest.mark.parametrize(
    ("name", "module", "key"),
    [("dbcnn", "dbcnn", "koniq"), ("nima", "nima", "inception_resnet_v2-ava"), ("nima_vgg16", "nima", "vgg16-ava")],
)
def test_pyiqa_names_the_same_file(name, module, key):
    archs = pytest.importorskip(f"pyiqa.archs.{module}_arch")
    assert archs.default_model_urls[key] == assets.ASSETS[name].url
    assert archs.get_url_from_name(assets.ASSETS[name].file.name, "github") == assets.ASSETS[name].mirrors[0]


@pytest.mark.skipif(not os.environ.get("SARBENCH_ASSETS"), reason="set SARBENCH_ASSETS to a folder with AlexNet's weights")
def test_alexnets_features_have_torchvisions_names_and_shapes():
    weights = assets.load_state_dict("alexnet")
    assert weights["features.0.weight"].shape == (64, 3, 11, 11)
    assert weights["features.10.bias"].shape == (256,)


def test_the_command_lists_what_is_here_and_what_is_not(folder, declare, capsys):
    assert cli.main(["fetch", "--list"]) == 0
    shown = capsys.readouterr().out
    assert "alexnet" in shown
    assert "not here: https://download.pytorch.org" in shown
    assert "sha256 2de81c0a..." in shown
    declare()
    (folder / "net.pth").write_bytes(WEIGHTS)
    assert cli.main(["fetch", "--list"]) == 0
    assert f"  here: {folder / 'net.pth'}" in capsys.readouterr().out


def test_the_list_needs_no_torch():
    code = (
        "import sys; from sarbench.bench import cli; cli.main(['fetch', '--list']);"
        "print({'torch', 'numpy', 'tqdm', 'urllib.request'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.endswith("set()\n")


def test_the_command_fetches_into_the_first_folder_of_the_variable(folder, declare, capsys):
    declare()
    assert cli.main(["fetch", "--all"]) == 0
    assert capsys.readouterr().out == f"{folder / 'net.pth'}\n"


def test_the_command_fetches_the_rest_where_one_fails(folder, declare, capsys, monkeypatch):
    declare("absent.pth")
    bad = assets.ASSETS["net"]
    declare()
    monkeypatch.setattr(assets, "ASSETS", {"bad": replace(bad, file=File("bad.pth", sha256(SMALL))), **assets.ASSETS})
    assert cli.main(["fetch", "bad", "net"]) == 1
    shown = capsys.readouterr()
    assert shown.out == f"{folder / 'net.pth'}\n"
    assert "the server says 404" in shown.err


def test_the_command_refuses_a_name_it_does_not_know_before_it_downloads(capsys):
    assert cli.main(["fetch", "alexnot"]) == 1
    assert "unknown asset 'alexnot'; choose from: alexnet" in capsys.readouterr().err
    assert cli.main(["fetch"]) == 1
    assert "name an asset" in capsys.readouterr().err
