import subprocess
import sys

import pytest

import empo_rl


def test_the_front_door_is_sorted_and_complete():
    assert empo_rl.__all__ == sorted(empo_rl.__all__)
    assert all(getattr(empo_rl, name) is not None for name in empo_rl.__all__)
    assert dir(empo_rl) == empo_rl.__all__


def test_importing_empo_rl_loads_neither_torch_nor_trl():
    heavy = "{'torch', 'trl', 'transformers', 'datasets', 'sympy', 'matplotlib', 'sklearn', 'yaml'}"
    code = f"import sys, empo_rl, empo_rl.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_trainer_is_loaded_on_first_use():
    code = "import sys, empo_rl; empo_rl.EmpoGRPOTrainer; print('trl' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="EmpoTrainer"):
        _ = empo_rl.EmpoTrainer
