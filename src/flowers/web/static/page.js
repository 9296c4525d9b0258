"use strict";
// One photo at a time: shown at once, asked about, answered in words, bars and a heat map.

const find = (id) => document.getElementById(id);
const limits = find("main").dataset;
const RETRIES = 2; // after a 503, each when the server says
const LONGEST = 2048; // px: what a photo above the limits is made smaller to

let asking = null; // the AbortController of the question under way
let address = null; // of the photo shown

// --- where photos come from ------------------------------------------------------------------

for (const id of ["pick", "take"]) {
  find(id).addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = ""; // so that the same file can be chosen again
  });
}

document.addEventListener("paste", (event) => {
  const files = event.clipboardData ? event.clipboardData.files : [];
  if (files.length) {
    event.preventDefault();
    take(files);
  } else if (!event.target.closest("input")) {
    fail("There is no photo in what you pasted. Copy the picture itself, not its address.");
  }
});

let depth = 0; // dragging over inner elements leaves and enters the outer ones
document.addEventListener("dragenter", () => mark((depth += 1)));
document.addEventListener("dragleave", () => mark((depth -= 1)));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault(); // the browser would leave the page for the photo
  mark((depth = 0));
  if (event.dataTransfer.files.length) take(event.dataTransfer.files);
  else fail("That was no file. Drop a photo from your computer.");
});

function mark(over) {
  find("drop").classList.toggle("over", over > 0);
}

for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", async () => {
    try {
      const response = await fetch(button.querySelector("img").src);
      if (!response.ok) throw new Error(response.status);
      await ask(await response.blob(), `A painted ${button.dataset.example}`);
      button.setAttribute("aria-pressed", "true");
    } catch {
      fail("The example could not be fetched. Is the server still there?");
    }
  });
}

function take(files) {
  const more = files.length > 1 ? " Only the first of them: one photo at a time." : "";
  if (files.length) ask(files[0], "The photo you asked about", more);
}

// --- asking ----------------------------------------------------------------------------------

async function ask(file, words, note = "") {
  if (asking) asking.abort();
  const mine = (asking = new AbortController());
  show(file, words);
  wait();
  try {
    const made = await within(file);
    const answer = await send(made.file, mine.signal, RETRIES);
    if (mine === asking) render(answer, made.note + note);
  } catch (error) {
    if (mine === asking) fail(error.message);
  } finally {
    if (mine === asking) document.body.classList.remove("busy");
  }
}

// A photo above the limits is made smaller here, so that nobody has to.
async function within(file) {
  const large = "The photo is too large, and this browser cannot make it smaller.";
  let bitmap = null;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    if (file.size > limits.bytes) throw new Error(large);
    return { file, note: "" }; // the server may know the format, or says why not
  }
  const { width, height } = bitmap;
  if (file.size <= limits.bytes && width * height <= limits.pixels) {
    bitmap.close();
    return { file, note: "" };
  }
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const smaller = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
  if (!smaller) throw new Error(large);
  return { file: smaller, note: " The photo was large and was made smaller in your browser." };
}

async function send(file, signal, retries) {
  const form = new FormData();
  form.append("photo", file, "photo"); // its own name is nobody's business
  const late = AbortSignal.timeout(1000 * limits.seconds + 5000);
  let response, body;
  try {
    const both = AbortSignal.any ? AbortSignal.any([signal, late]) : late;
    response = await fetch("/api/predict", { method: "POST", body: form, signal: both });
    body = await response.json();
  } catch {
    throw new Error(late.aborted
      ? "The answer took too long. Please try again."
      : "The server cannot be reached. Check the connection and try again.");
  }
  if (response.status === 503 && retries > 0) {
    say("Many are asking just now; waiting for a turn");
    const seconds = Number(response.headers.get("Retry-After")) || 2;
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    return send(file, signal, retries - 1);
  }
  if (body.error) throw new Error(body.error.message);
  const [answer] = body.predictions;
  if (answer.error) throw new Error(answer.error.message);
  return answer;
}

// --- showing ---------------------------------------------------------------------------------

let broken = false; // the browser cannot show the photo
let refused = false; // there is no answer for it

function show(file, words) {
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  broken = refused = false;
  const photo = find("photo");
  photo.alt = words;
  photo.onerror = () => {
    broken = true;
    settle();
  };
  photo.src = address;
  settle();
}

// A file that is no photo leaves the invitation; one that only the server can read says so.
function settle() {
  const empty = broken && refused;
  find("photo").hidden = broken;
  find("no-preview").hidden = !broken;
  find("shown").hidden = empty || !address;
  find("invitation").hidden = !empty && address !== null;
  find("stage").classList.toggle("full", !empty && address !== null);
}

function wait() {
  clear();
  document.body.classList.add("busy");
  say("Looking");
  for (const button of document.querySelectorAll("[aria-pressed]")) {
    button.removeAttribute("aria-pressed");
  }
}

function clear() {
  say("");
  find("problem").textContent = "";
  find("explanation").textContent = "";
  find("bars").hidden = true;
  find("similar").hidden = true;
  find("strength-row").hidden = true;
  find("heat").hidden = true;
  document.body.classList.remove("unlike");
}

function say(words) {
  find("sentence").classList.remove("idle");
  find("sentence").textContent = words;
}

function fail(message) {
  clear();
  document.body.classList.remove("busy");
  find("problem").textContent = message;
  refused = true;
  settle();
  reveal(find("problem"));
}

function render(answer, note) {
  clear();
  document.body.classList.toggle("unlike", answer.known === false);
  say(answer.sentence);
  find("explanation").textContent = answer.explanation + note;
  bars(answer);
  if (answer.heat) heat(answer);
  if (answer.similar.length) similar(answer.similar);
  reveal(find("sentence"));
}

// On a phone the answer lies below the photo.
function reveal(place) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  place.scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" });
}

function bars(answer) {
  const rows = Object.entries(answer.scores).slice(0, 5).map(([label, share]) => {
    const row = document.createElement("li");
    const name = element("span", label.replaceAll("_", " "));
    name.classList.toggle("named", answer.known !== false && answer.names.includes(label));
    const number = element("span", percent(share), "share");
    const track = element("div", "", "track");
    const fill = element("div", "", "fill");
    fill.style.setProperty("--share", `${(100 * share).toFixed(1)}%`);
    track.setAttribute("aria-hidden", "true");
    track.append(fill);
    row.append(name, number, track);
    return row;
  });
  find("bars").replaceChildren(...rows);
  find("bars").hidden = false;
}

function percent(share) {
  if (share > 0.995) return "over 99 %";
  if (share < 0.005) return "under 1 %";
  return `${Math.round(100 * share)} %`;
}

function element(kind, text, className = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = className;
  return made;
}

// From a dark veil over what does not count to a faint glow on what does: told apart on a photo
// of any colour, and in grey as well.
const STOPS = [[28, 8, 74, 205], [168, 32, 110, 150], [255, 214, 64, 50]];

function colour(share) {
  const place = share * (STOPS.length - 1);
  const below = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[below].map((part, i) => part + (place - below) * (STOPS[below + 1][i] - part));
}

// The map has few cells (7 x 7); the canvas smooths them over the whole photo.
function heat(answer) {
  const rows = answer.heat;
  const most = Math.max(...rows.flat());
  if (!(most > 0)) return;
  const [height, width] = [rows.length, rows[0].length];
  const cells = new ImageData(width, height);
  rows.flat().forEach((value, index) => {
    cells.data.set(colour(value / most), 4 * index);
  });
  const small = document.createElement("canvas");
  [small.width, small.height] = [width, height];
  small.getContext("2d").putImageData(cells, 0, 0);
  const canvas = find("heat");
  [canvas.width, canvas.height] = [32 * width, 32 * height];
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
  canvas.hidden = false;
  find("strength-label").textContent = `What speaks for ${answer.label.replaceAll("_", " ")}`;
  find("strength-row").hidden = false;
  strength();
}

function strength() {
  find("heat").style.opacity = find("strength").value / 100;
}
find("strength").addEventListener("input", strength);

function similar(photos) {
  const items = photos.map(({ label, photo }) => {
    const image = element("img", "");
    image.src = photo;
    image.alt = "";
    const item = document.createElement("li");
    item.append(image, element("span", label.replaceAll("_", " ")));
    return item;
  });
  find("similar-list").replaceChildren(...items);
  find("similar").hidden = false;
}
