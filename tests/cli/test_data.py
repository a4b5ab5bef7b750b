"""edgenet data."""

import subprocess
import sys


def test_the_data_sets_are_listed_with_where_they_are(run):
    code, out, _ = run("data", "list")
    assert code == 0 and next(line for line in out.splitlines() if line.startswith("karate")).split()[1] == "node"


def test_a_data_set_is_described_and_prepared(run, tmp_path):
    code, out, _ = run("data", "info", "karate")
    assert code == 0 and "34" in out and "licence" in out
    code, out, _ = run("data", "prepare", "karate", "--out", "karate.npz")
    assert code == 0 and (tmp_path / "karate.npz").is_file() and "karate.npz" in out


def test_the_list_waits_neither_for_torch_nor_for_numpy():
    code = (
        "import resource, sys\n"
        "from edgenet.cli import main\n"
        "assert main(['data', 'list']) == 0\n"
        "slow = {'torch', 'numpy', 'torch_geometric', 'matplotlib'} & set(sys.modules)\n"
        "assert not slow, slow\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < 0.5  # seconds of the processor; a clock would tell of other programs


def test_a_file_of_ones_own_is_prepared(run, tmp_path):
    (tmp_path / "e.csv").write_text("source,target,label\n" + "\n".join(f"{i},{i + 1},{i % 2}" for i in range(20)))
    code, out, err = run("data", "prepare", "e.csv")
    assert code == 0 and "learned" in out and "train" in out, err
