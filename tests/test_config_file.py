"""Settings in TOML: written, read back, refused in words, and what comes first."""

from dataclasses import replace

import pytest

from flowers import config_file
from flowers.cli.training import configured
from flowers.config import DEFAULT, HEAD, Config, usual
from flowers.errors import InputError

NONE = {"names": None, "epochs": None, "rate": None}


@pytest.mark.parametrize(
    "config",
    [
        DEFAULT,
        Config.tiny(label_smoothing=0.03, augmentation_strength=1.5),
        usual("cifar10"),
        usual("caltech101"),
        replace(DEFAULT, weights='C:\\a "name"\nün\x7f.h5', dropout=1e-05),
    ],
)
def test_what_is_written_is_read(tmp_path, config):
    path = config_file.write(tmp_path / "a.toml", config, "two\n\nparagraphs")
    # None is left out, and so keeps the usual value
    assert replace(DEFAULT, **config_file.read(path)) == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dropuot = 0.1", "did you mean dropout"),
        ("seed = 1.5", "a whole number for seed"),
        ("views = true", "a whole number for views"),
        ("dropout = 1", "a number from 0 to 0.99 for dropout"),
        ("dropout = nan", "dropout"),
        ("label_smoothing = '0.1'", "a number for label_smoothing"),
        ("backbone = 50", "text in quotes for backbone"),
        ("head = 256", "a list in brackets for head"),
        ("head = [256, 'x']", "a whole number for head"),
        ("phases = []", "at least one table"),
        ("phases = [3]", "a table phases for phases in"),
        ("shares = 0.7", "a table shares"),
        ("[shares]\ntest = 0.1", "only the keys train, validation, per_class"),
        ("[shares]\ntrain = 0.9\nvalidation = 0.2", "together at most 1"),
        ("[[phases]]\nname = 'head'\nthaw = 'head'", "epochs, rate in"),
        ("[[phases]]\nname = 'a'\nthaw = 'neck'\nepochs = 1\nrate = 0.1", "thaw one of"),
        ("[[phases]]\nname = 'a'\nthaw = 'head'\nepochs = 1\nrate = '1'", "for rate in"),
        ("seed = ", "in TOML"),
        ("\udcff", "in TOML"),
        (None, "no such file"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(tmp_path, text, words):
    path = tmp_path / "a.toml"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as refused:
        config_file.read(path)
    assert words in str(refused.value) and "a.toml" in str(refused.value)


def test_options_come_before_the_file_and_the_file_before_the_usual(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('backbone = "resnet20"\nsize = 48\nseed = 3\n')
    config = configured("my/photos", path, **NONE, seed=5, size=None, backbone=None)
    assert (config.seed, config.size, config.backbone) == (5, 48, "resnet20")
    assert config.head == (), "what suits the backbone that the file names"


def test_options_change_the_phases_of_the_file(tmp_path):
    config_file.write(tmp_path / "a.toml", replace(DEFAULT, phases=(HEAD, HEAD)))
    path = tmp_path / "a.toml"
    config = configured("x", path, names=None, epochs=2, rate=0.5)
    assert config.phases == (replace(HEAD, epochs=2), replace(HEAD, epochs=2, rate=0.5))
    config = configured("x", path, names="stage", epochs=None, rate=None)
    assert [phase.thaw for phase in config.phases] == ["stage"]


def test_train_refuses_a_file_before_it_looks_at_photos(tmp_path, run_flowers):
    (tmp_path / "a.toml").write_text("sise = 64")
    done = run_flowers("train", "--config", "a.toml", "--data", "nowhere")
    assert done.code == 2 and "did you mean size" in done.stderr
