"""Weights that are to be fetched, on a machine that cannot reach the hub."""

from __future__ import annotations

import socket

import pytest
import timm
from huggingface_hub import constants

from avalanche_ham.backbones.hub import cache_alone_where_offline
from avalanche_ham.backbones.vit import create_backbone
from avalanche_ham.errors import DataError


def no_such_host(*args, **kwargs):
    raise socket.gaierror(-2, "Name or service not known")


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_where_the_hub_is_out_of_reach_its_cache_alone_is_asked(no_network):
    with cache_alone_where_offline():
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE
    with pytest.raises(KeyError), cache_alone_where_offline():
        raise KeyError
    assert not constants.HF_HUB_OFFLINE


def test_a_proxy_looks_names_up_itself(no_network, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    with cache_alone_where_offline():
        assert not constants.HF_HUB_OFFLINE


def test_weights_that_are_nowhere_are_refused_at_once(no_network, monkeypatch, capfd):
    with pytest.raises(DataError, match="not in timm's cache.*--weights FILE"):
        create_backbone("vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    assert capfd.readouterr().err == ""


def test_what_the_cache_has_is_taken(no_network, monkeypatch):
    made = timm.create_model("test_vit", num_classes=0)
    seen = []

    def create(name, **options):
        seen.append(constants.HF_HUB_OFFLINE)
        return made

    monkeypatch.setattr(timm, "create_model", create)
    assert create_backbone("test_vit.r160_in1k") is made and seen == [True]


def test_where_nothing_is_fetched_no_name_is_looked_up(no_network, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: asked.append(args))
    create_backbone("test_vit", pretrained=False)
    assert not asked
