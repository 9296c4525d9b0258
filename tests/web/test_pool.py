"""The pool: one model for a lone photo, two side by side for a crowd, and back."""

import gc
import re
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import lite
import numpy as np
import pytest

from flowers.ship.predictor import Predictor
from flowers.web import memory
from flowers.web.pool import SIDE_BY_SIDE, Opener, Pool

PHOTO = np.full((8, 8, 3), 90, np.uint8)
WAIT = 30  # seconds, only reached where something is broken


class Models:
    """Opens models of one card that answer when they are told to, and watches them."""

    def __init__(self, card):
        self.card, self.opened, self.threads = card, [], []
        self.at_once = self.most = 0
        self._lock, self.go_on = threading.Lock(), threading.Event()
        self.go_on.set()

    def open(self, threads):
        model = Predictor(self.card, self._run)
        self.opened.append(weakref.ref(model))
        self.threads.append(threads)
        return model

    def _run(self, batch):
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.002)  # as long as others need to come
        assert self.go_on.wait(WAIT)
        with self._lock:
            self.at_once -= 1
        share = 1 / len(self.card.labels)
        return {"probabilities": np.full((len(batch), len(self.card.labels)), share)}

    def living(self):
        gc.collect()
        return [number for number, model in enumerate(self.opened) if model() is not None]


@pytest.fixture
def models(model_file):
    card = lite.load(model_file).card
    return Models(replace(card, size=8, sets=None))


def crowd(pool, photos=20, visitors=4):
    """So many photos, asked about by each of so many visitors; waits for a change to end."""

    def ask():
        for _ in range(photos):
            pool.predict(PHOTO)

    visiting = [threading.Thread(target=ask) for _ in range(visitors)]
    for thread in visiting:
        thread.start()
    for thread in visiting:
        thread.join(WAIT)
    settle()


def settle():
    for thread in threading.enumerate():
        if thread.name == "pool":
            thread.join(WAIT)


def test_lone_photos_are_looked_at_by_the_one_model_with_all_threads(models):
    pool = Pool(models.open(2), models.open)
    for _ in range(100):
        pool.predict(PHOTO)
    assert (pool.members, models.threads) == (1, [2])


def test_a_crowd_is_looked_at_side_by_side_and_the_first_model_is_let_go(models):
    pool = Pool(models.open(2), models.open)
    crowd(pool)
    assert (pool.members, models.threads) == (SIDE_BY_SIDE, [2, 1, 1])
    assert models.living() == [1, 2]  # the first one's memory is free
    models.most = 0
    models.go_on.clear()
    asking = [threading.Thread(target=pool.predict, args=(PHOTO,)) for _ in range(3)]
    for thread in asking:
        thread.start()
    until = time.monotonic() + WAIT
    while models.at_once < SIDE_BY_SIDE and time.monotonic() < until:
        time.sleep(0.001)
    models.go_on.set()
    for thread in asking:
        thread.join(WAIT)
    assert models.most == SIDE_BY_SIDE  # two together, and never three: each model has one caller


def test_when_the_crowd_has_gone_one_model_has_all_threads_again(models):
    pool = Pool(models.open(2), models.open)
    crowd(pool)
    for _ in range(40):
        pool.predict(PHOTO)
    settle()
    assert (pool.members, models.threads) == (1, [2, 1, 1, 2])
    assert models.living() == [3]


def test_two_who_meet_now_and_then_change_nothing(models):
    pool = Pool(models.open(2), models.open)
    for _ in range(10):
        crowd(pool, photos=3, visitors=2)
        for _ in range(6):
            pool.predict(PHOTO)
    assert models.threads == [2]


def test_without_a_way_to_open_again_one_model_looks_at_all(models):
    pool = Pool(models.open(2))
    crowd(pool)
    assert (pool.members, models.most) == (1, 1)


def fails(threads):
    raise OSError("no memory")


def test_where_the_model_cannot_be_opened_again_the_first_goes_on(models, caplog):
    pool = Pool(models.open(2), fails)
    crowd(pool)
    assert pool.members == 1 and "no memory" in caplog.text
    assert pool.predict(PHOTO).label in models.card.labels


def test_another_model_in_its_place_is_not_taken_for_it(models, caplog):
    pool = Pool(models.open(2), models.open)
    models.card = replace(models.card, sha256="1" * 64)
    crowd(pool)
    assert pool.members == 1 and "Start again" in caplog.text


def test_the_real_runtime_answers_the_same_side_by_side(exported):
    def slowly(threads):
        """The real model, which is a small one, in the time of a large one."""
        opened = Opener(exported)(threads)
        return replace(opened, run=lambda batch: time.sleep(0.003) or opened.run(batch))

    photos = np.random.default_rng(3).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
    first = slowly(2)
    expected = [first.predict(photo).scores for photo in photos]
    pool = Pool(first, slowly)
    crowd(pool)
    assert pool.members == SIDE_BY_SIDE
    for photo, scores in zip(photos, expected, strict=True):
        assert pool.predict(photo).scores == pytest.approx(scores, abs=1e-6)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")
def test_the_file_of_an_opened_model_holds_no_memory(exported):
    predictor = Predictor.load(exported)
    expected = predictor.predict(PHOTO).scores
    assert mapped(exported) > 0
    memory.let_go(exported)
    assert mapped(exported) == 0
    assert predictor.predict(PHOTO).scores == expected  # what is needed comes back


def mapped(path):
    """kB of a mapped file that are in memory."""
    text = Path("/proc/self/smaps").read_text(encoding="utf-8")
    found = re.findall(rf"{re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+) kB", text)
    assert found
    return sum(map(int, found))
