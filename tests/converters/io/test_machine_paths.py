"""Paths in texts that are given away: which are found, and what stays of them."""

import json

import pytest
from ggufx.converters.io.machine_paths import is_machine_path, json_without_paths, without_paths

CUT = {
    "/home/user/models/llama": "llama", "/mnt/data": "data", "~/models/x": "x", "~user/x": "x", "./x": "x", "../a/x/": "x",
    "C:\\Users\\Jane Doe\\model": "model", "D:/models/x": "x", "\\\\server\\share\\x": "x", "file:///home/u/x": "x",
    "/home/Jane Doe/model": "model",
    "trained on /home/user/data.json, twice": "trained on data.json, twice",
    'from "/Users/u/m" (see file:///tmp/log.txt)': 'from "m" (see log.txt)',
    "base_model:adapter:/home/u/llama": "base_model:adapter:llama",
    "path=C:\\Users\\u\\x.gguf": "path=x.gguf",
}
KEPT = ("org/name",
        "https://huggingface.co/org/name", "s3://bucket/a/b", "and/or", "1/2", "text-generation", "arxiv:2401.12345",
        "doi:10.57967/hf/1234", "", "/", "license:apache-2.0", "</s>", "a / b / c", "`/v1`", "one\n/two\n")


@pytest.mark.parametrize("text", CUT)
def test_a_path_is_cut_to_its_last_part(text):
    assert without_paths(text) == CUT[text]
    assert without_paths(CUT[text]) == CUT[text]


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_path_stays(text):
    assert without_paths(text) == text
    assert not is_machine_path(text) or text == "/"


def test_json_keeps_its_spelling():
    text = '{"a":  "/home/\\u00fc/x", "b": ["C:\\\\m\\\\y", "org/name"],\n"c": "see /home/u/z"}'
    made, found = json_without_paths(text)
    assert made == '{"a":  "x", "b": ["y", "org/name"],\n"c": "see /home/u/z"}'
    assert sorted(found) == ["/home/ü/x", "C:\\m\\y"]
    assert json.loads(made)["b"] == ["y", "org/name"]
