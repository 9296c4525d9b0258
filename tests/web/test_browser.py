"""The page in a real browser: with mouse, keyboard, clipboard, on a phone, in light and dark."""

import base64
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="chromium and chromedriver are not installed: the page is not tested in a browser",
)


class Page:
    """The page, as somebody at the browser sees it."""

    def __init__(self, browser, address: str):
        self.browser, self.address = browser, address

    def open(self, width: int = 1280, dark: bool = False, touch: bool = False) -> "Page":
        screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": touch}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        do = self.browser.execute_cdp_cmd
        do("Emulation.setDeviceMetricsOverride", screen)
        do("Emulation.setTouchEmulationEnabled", {"enabled": touch})
        do("Emulation.setEmulatedMedia", {"features": [scheme, still]})
        self.browser.get(self.address)
        return self

    def find(self, selector: str):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, name: str) -> str:
        return self.find(f"#{name}").text

    def run(self, script: str, *arguments):
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition) -> None:
        WebDriverWait(self.browser, 20, 0.05).until(lambda _: condition())

    def bars(self) -> list[list[str]]:
        """Label and share of each bar, once there are some."""
        self.wait(lambda: self.find("#bars").is_displayed())
        rows = self.browser.find_elements(By.CSS_SELECTOR, "#bars li")
        return [row.text.split("\n") for row in rows]

    def problem(self) -> str:
        self.wait(lambda: self.text("problem"))
        return self.text("problem")

    def screenshot(self, path: Path) -> Path:
        taken = self.browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True}
        )
        path.write_bytes(base64.b64decode(taken["data"]))
        return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("browser")
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    options.add_argument("--disable-dev-shm-usage")  # in a container it holds 64 MB
    options.add_argument(f"--user-data-dir={profile}")
    options.add_argument("--disable-background-networking")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # not through HOME, where the browser would leave its caches
    service = webdriver.ChromeService(DRIVER, env=os.environ | {"XDG_CACHE_HOME": str(profile)})
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


@pytest.fixture
def page(browser, served) -> Page:
    browser.get_log("browser"), browser.get_log("performance")
    return Page(browser, served.address).open()


@pytest.fixture(scope="module")
def rose(photo, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "rose & <b>tulip.jpg"
    path.write_bytes(photo)
    return path


def test_a_chosen_photo_is_shown_and_answered_in_words_bars_and_heat(page, rose, predictor):
    assert page.find("#stage").is_displayed() and "Drop a photo here" in page.text("stage")
    page.find("#pick").send_keys(str(rose))
    said = predictor.predict(rose)
    shares = dict(page.bars())
    assert list(shares) == list(said.scores)
    assert page.text("sentence") == f"A {said.label}, {shares[said.label]}"
    assert page.run("return document.getElementById('photo').naturalWidth") == 160
    strength = page.find("#strength")
    assert page.text("strength-label") == f"What speaks for {said.label}"
    before = page.find("#heat").value_of_css_property("opacity")
    strength.send_keys(Keys.HOME)
    page.wait(lambda: page.find("#heat").value_of_css_property("opacity") == "0")
    assert float(before) > 0.5
    alpha = "return document.getElementById('heat').getContext('2d')"
    assert page.run(f"{alpha}.getImageData(60, 60, 1, 1).data[3]") > 0


def test_a_pasted_and_a_dropped_photo_are_answered(page, photo):
    script = """
        const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "photo.jpg", {type: "image/jpeg"}));
        const options = {bubbles: true, cancelable: true};
        document.body.dispatchEvent(arguments[0] === "paste"
          ? new ClipboardEvent("paste", {...options, clipboardData: data})
          : new DragEvent("drop", {...options, dataTransfer: data}));
    """
    for way in ("paste", "drop"):
        page.open()
        page.run(script, way, base64.b64encode(photo).decode())
        assert len(page.bars()) == 5 and not page.text("problem")


def test_pasting_a_text_is_answered_in_words(page):
    page.run(
        "const data = new DataTransfer(); data.setData('text/plain', 'a rose');"
        "document.body.dispatchEvent(new ClipboardEvent('paste',"
        " {bubbles: true, clipboardData: data}))"
    )
    assert "Copy the picture itself" in page.problem()


def test_what_is_no_photo_is_refused_in_words_and_the_next_photo_is_answered(page, tmp_path, rose):
    diary = tmp_path / "diary.jpg"
    diary.write_bytes(b"%PDF-1.7")
    page.find("#pick").send_keys(str(diary))
    assert page.problem().startswith("That is a PDF document. Save it as JPEG or PNG")
    page.wait(lambda: page.find("#invitation").is_displayed())
    assert page.find("#problem").get_attribute("role") == "alert"
    page.find("#pick").send_keys(str(rose))
    assert len(page.bars()) == 5 and page.text("problem") == ""


def test_a_photo_of_one_colour_looks_like_none_of_the_flowers(page, tmp_path):
    Image.new("RGB", (64, 48), (90, 90, 90)).save(tmp_path / "wall.png")
    page.find("#pick").send_keys(str(tmp_path / "wall.png"))
    page.wait(lambda: "This does not look like one of the five flowers" in page.text("sentence"))
    assert "The nearest would be" in page.text("explanation")


def test_a_photo_above_the_limit_is_made_smaller_in_the_browser(page, tmp_path, rose):
    large = tmp_path / "large.jpg"
    large.write_bytes(rose.read_bytes() + bytes(9 * 1024 * 1024))
    page.find("#pick").send_keys(str(large))
    assert len(page.bars()) == 5
    assert "made smaller in your browser" in page.text("explanation")


def test_a_busy_server_is_asked_again(page, rose):
    page.run(
        "const real = fetch; let calls = 0;"
        "window.fetch = (...all) => calls++ ? real(...all) : Promise.resolve(new Response("
        """ '{"error": {"message": "busy"}}', {status: 503, headers: {"Retry-After": "1"}}))"""
    )
    page.find("#pick").send_keys(str(rose))
    page.wait(lambda: "waiting for a turn" in page.text("sentence"))
    assert len(page.bars()) == 5


def test_a_server_that_is_gone_is_said(page, rose):
    page.run("window.fetch = () => Promise.reject(new TypeError('gone'))")
    page.find("#pick").send_keys(str(rose))
    assert "server cannot be reached" in page.problem()


def test_it_works_with_the_keyboard_alone_and_shows_where_it_is(page):
    focus = "const at = document.activeElement; return at.id || at.dataset.example || at.href"
    seen = []
    for _ in range(6):
        webdriver.ActionChains(page.browser).send_keys(Keys.TAB).perform()
        seen.append(page.run(focus))
    assert seen == ["pick", "daisy", "dandelion", "rose", "sunflower", "tulip"]
    outline = "return getComputedStyle(arguments[0]).outlineStyle"
    assert page.run(outline, page.browser.switch_to.active_element) == "solid"
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert len(page.bars()) == 5
    page.wait(lambda: page.find("[data-example=tulip]").get_attribute("aria-pressed") == "true")
    assert page.run("return document.activeElement.dataset.example") == "tulip"


def test_on_a_phone_nothing_is_cut_off_and_a_photo_can_be_taken(page):
    page.open(390, touch=True)
    assert page.find("label[for=take]").is_displayed()
    assert page.find("#take").get_attribute("capture") == "environment"
    page.find("[data-example=daisy]").click()
    assert len(page.bars()) == 5
    assert page.run("return document.documentElement.scrollWidth") <= 390
    for button in page.browser.find_elements(
        By.CSS_SELECTOR, "label.button, button, input[type=range]"
    ):
        assert button.size["height"] >= 32


def test_text_can_be_told_from_its_ground_in_light_and_dark(page):
    for dark in (False, True):
        page.open(dark=dark)
        page.find("[data-example=rose]").click()
        page.bars()
        for selector in ("h1", ".lead", "#sentence", "#bars .share", "label.main", "footer a"):
            assert contrast(page, selector) >= 4.5, f"{selector}, dark: {dark}"


def contrast(page: Page, selector: str) -> float:
    """The contrast of WCAG 2 between a text and what is painted behind it."""
    colours = page.run(
        """let at = arguments[0]; const ink = getComputedStyle(at).color;
        const ground = (e) => getComputedStyle(e).backgroundColor;
        while (ground(at) === "rgba(0, 0, 0, 0)" && at.parentElement) at = at.parentElement;
        return [ink, ground(at)];""",
        page.find(selector),
    )
    light, dark = sorted((luminance(colour) for colour in colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_it_asks_no_other_host_and_breaks_no_rule_of_its_own(page, rose):
    page.find("#pick").send_keys(str(rose))
    page.bars()
    page.browser.get(page.address + "api")
    assert "curl" in page.find("pre").text
    asked = [
        json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")
    ]
    addresses = {
        message["params"]["request"]["url"]
        for message in asked
        if message["method"] == "Network.requestWillBeSent"
    }
    own = {page.address, "blob:", "data:"}
    assert len(addresses) > 5
    assert not [each for each in addresses if not each.startswith(tuple(own))]
    said = [entry["message"] for entry in page.browser.get_log("browser")]
    assert said == []


@pytest.mark.parametrize("width", [1280, 390])
def test_similar_photos_stand_below_the_answer(browser, serve, small_folder, width):
    page = Page(browser, serve().address).open(width, touch=width < 500)
    assert not page.find("#similar").is_displayed()
    page.find("#pick").send_keys(str(next((small_folder / "circle").iterdir())))
    page.wait(lambda: page.find("#similar").is_displayed())
    assert "Similar photos it learned from" in page.text("similar")
    shown = page.browser.find_elements(By.CSS_SELECTOR, "#similar-list img")
    assert len(shown) == 5
    for image in shown:
        assert page.run("return arguments[0].naturalWidth", image) > 0
        assert page.find("#similar").rect["width"] >= image.rect["width"] > 50
    names = page.text("similar-list").split()
    assert len(names) == 5 and set(names) <= {"circle", "square", "triangle"}
    assert page.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_pictured_at_both_widths_in_light_and_dark(page, tmp_path, width, dark):
    page.open(width, dark=dark, touch=width < 500)
    page.find("[data-example=sunflower]").click()
    page.bars()
    with Image.open(page.screenshot(tmp_path / "page.png")) as picture:
        colours = picture.convert("RGB").resize((64, 64)).getcolors(4096)
        corner = picture.convert("RGB").getpixel((2, 2))
        assert picture.width == width and len(colours) > 200
    assert (max(corner) < 60) == dark
