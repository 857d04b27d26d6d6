"""The same records give the same bytes, on any machine."""

import os
import subprocess
import sys

import pytest

from tests.property.fingerprint import fingerprint

SETTINGS: dict[str, tuple[list[str], dict[str, str]]] = {
    "hash seed 0": ([], {"PYTHONHASHSEED": "0"}),
    "hash seed 1, Turkish": ([], {"PYTHONHASHSEED": "1", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}),
    "no UTF-8, C locale, another time zone": ([], {"PYTHONUTF8": "0", "LC_ALL": "C", "TZ": "Asia/Kathmandu"}),
    "optimised, isolated": (["-OO"], {"PYTHONHASHSEED": "2", "PYTHONNODEBUGRANGES": "1"}),
}


@pytest.mark.parametrize(("options", "variables"), SETTINGS.values(), ids=SETTINGS)
def test_the_settings_of_a_process_shape_nothing(options: list[str], variables: dict[str, str]) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, *options, "-m", "tests.property.fingerprint"]
    result = subprocess.run(command, env=environment | variables, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == fingerprint()
    assert result.stderr == ""


def test_a_history_makes_the_same_twice() -> None:
    assert fingerprint() == fingerprint()
