"""Configuration files become checked models, and mistakes become one sentence."""

from pathlib import Path

import pytest
import yaml

from streamtrack.config import Config, load_config
from streamtrack.errors import ConfigError
from streamtrack.resources import resource


def written(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text)
    return path


def test_default_yaml_repeats_every_default() -> None:
    shipped = yaml.safe_load(resource("configs/default.yaml").read_text())
    assert shipped == Config().model_dump(mode="json")
    assert load_config(resource("configs/default.yaml")) == Config()


def test_every_key_of_default_yaml_stands_under_a_comment() -> None:
    lines = resource("configs/default.yaml").read_text().splitlines()
    assert sum(line.lstrip().startswith("#") for line in lines) > 25


def test_the_example_of_cameras_is_valid() -> None:
    config = load_config(resource("configs/cameras.example.yaml"))
    assert list(config.sources) == ["desk", "front-door", "clip"]
    assert config.sources["clip"].loop


def test_an_unknown_key_names_its_path_and_the_nearest_key(tmp_path: Path) -> None:
    path = written(tmp_path, "server:\n  prot: 1\n")
    with pytest.raises(ConfigError, match=r"server\.prot .*did you mean server\.port\?"):
        load_config(path)
    path = written(tmp_path, "display:\n  overlay: {fil_alpha: 1}\n")
    with pytest.raises(ConfigError, match=r"did you mean display\.overlay\.fill_alpha\?"):
        load_config(path)
    path = written(tmp_path, "sources:\n  a: {sourc: demo}\n")
    with pytest.raises(ConfigError, match="sources"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server: {port: 70000}", "server.port"),
        ("server: {port: abc}", "server.port"),
        ("server: {tls_cert: a.pem}", "tls_key"),
        ("sources: {'Front Door': demo}", "a-z"),
        ("tracker: {image_size: 100}", "tracker.image_size"),
        ("[1, 2]", "mapping"),
        ("a: [", "line 1"),
    ],
)
def test_a_wrong_value_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_overrides_win_over_the_file_and_none_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "server: {port: 1, host: 127.0.0.2}\nsources: {a: demo}\n")
    changes = {"server": {"port": 2, "host": None}, "sources": {"b": "demo"}}
    config = load_config(path, changes)
    assert (config.server.port, config.server.host) == (2, "127.0.0.2")
    assert list(config.sources) == ["b"]


def test_credentials_never_show_in_a_configuration_or_its_errors(tmp_path: Path) -> None:
    config = load_config(
        None, {"sources": {"cam": "rtsp://me:canary@host/x"}, "server": {"token": "canary"}}
    )
    assert "canary" not in repr(config) and "canary" not in str(config.model_dump(mode="json"))
    path = written(tmp_path, "sources: {cam: {source: 'rtsp://me:canary@host', loop: maybe}}")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],
)
def test_loopback_is_known(host: str, loopback: bool) -> None:
    assert load_config(None, {"server": {"host": host}}).server.loopback is loopback
