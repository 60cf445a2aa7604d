// The compare page with a script: pictures by drag and drop or from the camera, the face of each at once, and the answer
// without a new page. Without it the form is sent as it stands.

const LARGEST = 2000; // pixels of the longer side that are sent
const MOST = 10_000_000; // bytes of one picture

const REASONS = {
  NotAllowedError: "The camera was not allowed. Allow it in the browser (the sign beside the address), then try again.",
  NotFoundError: "This device has no camera.",
  NotReadableError: "The camera is in use by another program.",
  OverconstrainedError: "This device has no such camera.",
  NotSupportedError: "Browsers give their camera only to pages of this computer (localhost) or from https.",
};

const form = document.getElementById("pictures");
const token = form.elements.csrf_token.value;
const result = document.getElementById("result");
const working = document.getElementById("working");
const submit = form.querySelector("[type=submit]");
const heading = document.querySelector("h1");
const lead = document.querySelector(".lead");

document.documentElement.classList.add("js");
form.noValidate = true; // the script says what is missing

function say(element, text, kind = "") {
  element.textContent = text;
  element.classList.toggle("problem", kind === "problem");
  element.classList.toggle("busy", kind === "busy");
}

// Shows an answer, or none; the heading and the title say so, as they do without a script.
function show(answer = "") {
  result.innerHTML = answer; // our own page, escaped there
  heading.textContent = answer ? "The answer" : "Two pictures";
  heading.classList.toggle("small", Boolean(answer));
  if (lead) lead.hidden = Boolean(answer);
  document.title = `${document.getElementById("verdict")?.textContent ?? "Two pictures"} · Two faces`;
}

// Sends a form; gives the answer, or throws an error that says in words what is wrong.
async function send(address, fields, headers = {}) {
  const data = new FormData();
  for (const [name, blob] of Object.entries(fields)) data.append(name, blob, "picture"); // files keep their names
  let answer;
  try {
    answer = await fetch(address, { method: "POST", body: data, headers: { "X-CSRFToken": token, ...headers } });
  } catch {
    throw new Error("The server can't be reached. Is there a connection?");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({ detail: "Something broke. Please try again." }));
  if (problem.reason === "no-consent") location.assign("/?ended=1"); // elsewhere, or by itself
  throw Object.assign(new Error(problem.detail), problem);
}

function asJpeg(canvas) {
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
}

// A copy that is no larger than it must be, and says nothing of the place and the time; what the browser can't open
// goes as it is.
async function smaller(file) {
  let picture;
  try {
    picture = await createImageBitmap(file); // turned as the camera was held
  } catch {
    return file;
  }
  const scale = Math.min(1, LARGEST / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white"; // where it is transparent
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return (await asJpeg(canvas)) ?? file;
}

class Slot {
  constructor(element) {
    this.element = element;
    this.name = element.dataset.slot;
    this.find = (selector) => element.querySelector(selector);
    this.status = this.find(".status");
    this.input = this.find("input");
    this.video = this.find("video");
    this.picture = null; // what will be compared
    this.looking = Promise.resolve(); // until the face was found, or not
    this.round = 0;
    this.refused = null; // the address of a picture that did not work, while it is shown
    this.stream = null;
    const chosen = () => this.input.files[0] && this.give(this.input.files[0]);
    this.input.addEventListener("change", chosen);
    this.find(".start").addEventListener("click", () => this.film());
    this.find(".take").addEventListener("click", () => this.take());
    this.find(".stop").addEventListener("click", () => this.stop("The camera is off.", true));
    element.addEventListener("dragover", (event) => {
      event.preventDefault();
      element.classList.add("over");
    });
    element.addEventListener("dragleave", () => element.classList.remove("over"));
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      element.classList.remove("over");
      const [file] = event.dataTransfer.files;
      if (file) this.give(file);
    });
    chosen(); // before this script was there
  }

  show(face, preview) {
    if (this.refused) URL.revokeObjectURL(this.refused);
    this.refused = null;
    this.element.classList.remove("refused");
    for (const [kind, source, text] of [
      ["face", face, "The face that was found"],
      ["preview", preview, "The picture, with a box around the face"],
    ]) {
      const image = this.find(`.${kind}`);
      image.hidden = !source;
      image.alt = source ? text : "";
      if (source) image.src = source;
      else image.removeAttribute("src");
    }
    this.element.classList.toggle("filled", Boolean(face));
  }

  // The picture stays to be seen, greyed, if the browser can show it.
  async refuse(picture) {
    const address = (this.refused = URL.createObjectURL(picture));
    const image = this.find(".preview");
    image.src = address;
    image.alt = "The picture that did not work";
    const isShown = await image.decode().then(() => true, () => false);
    if (this.refused !== address) return; // another one came meanwhile
    image.hidden = !isShown;
    this.element.classList.toggle("refused", isShown);
  }

  give(file, camera = "Use the camera") {
    this.stop();
    this.find(".start").firstChild.textContent = camera;
    this.looking = this.look(file);
    return this.looking;
  }

  async look(file) {
    const round = ++this.round; // a picture given later wins
    this.picture = null;
    this.show();
    show();
    if (working.classList.contains("problem")) say(working, "");
    say(this.status, "Looking for the face …", "busy");
    let picture = file;
    try {
      picture = await smaller(file);
      if (picture.size > MOST) throw new Error("This picture has more than 10 MB.");
      const seen = await (await send("/api/detect", { picture })).json();
      if (round !== this.round) return;
      this.picture = picture;
      this.show(seen.face, seen.preview);
      const [x, , width] = seen.box;
      this.find(".inset").classList.toggle("left", x + width / 2 > 0.55 * seen.size[0]);
      const hints = seen.hints.map((hint) => ` A hint: ${hint}.`);
      say(this.status, seen.says + hints.join(""));
    } catch (error) {
      if (round === this.round) {
        say(this.status, error.message, "problem");
        await this.refuse(picture);
      }
    }
    this.input.value = ""; // the same file may be chosen again
  }

  buttons(isFilming) {
    this.element.classList.toggle("filming", isFilming);
    this.video.hidden = !isFilming;
    this.find(".take").hidden = this.find(".stop").hidden = !isFilming;
    this.find(".start").hidden = this.find(".file").hidden = isFilming;
  }

  async film() {
    const round = ++this.round;
    this.picture = null;
    this.show();
    say(this.status, "Waiting for the camera …", "busy");
    try {
      if (!navigator.mediaDevices) throw new DOMException("", "NotSupportedError");
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "user" } });
      if (round !== this.round) return stream.getTracks().forEach((track) => track.stop());
      this.stream = stream;
      stream.getVideoTracks()[0].addEventListener("ended", () => this.stop("The camera has gone: was it unplugged?", true));
      this.video.srcObject = stream;
      await this.video.play();
      this.buttons(true);
      this.find(".take").focus();
      say(this.status, "Look into the camera, then take the picture.");
    } catch (error) {
      if (round !== this.round) return; // a picture came meanwhile
      this.stop();
      const problem = REASONS[error.name] ?? "The camera does not start.";
      say(this.status, `${problem} You can choose a picture instead.`, "problem");
    }
  }

  stop(text = "", withFocus = false) {
    const wasFilming = Boolean(this.stream);
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
    this.buttons(false);
    if (text) say(this.status, text);
    if (wasFilming && withFocus) this.find(".start").focus();
  }

  async take() {
    const canvas = document.createElement("canvas");
    canvas.width = this.video.videoWidth;
    canvas.height = this.video.videoHeight;
    canvas.getContext("2d").drawImage(this.video, 0, 0); // as it is, not mirrored
    const picture = await asJpeg(canvas);
    this.stop("", true);
    await this.give(picture, "Take it again");
  }
}

const slots = [...form.querySelectorAll(".slot")].map((element) => new Slot(element));

// Which pictures are still needed, in words.
function lack() {
  if (slots.every((slot) => !slot.picture && !slot.refused)) return "Both pictures are still missing.";
  const said = (slot) => (slot.refused ? "did not work: please choose it again, or another one." : "is still missing.");
  return slots.filter((slot) => !slot.picture).map((slot) => `The ${slot.name} picture ${said(slot)}`).join(" ");
}

async function compare() {
  await Promise.all(slots.map((slot) => slot.looking));
  const missing = slots.find((slot) => !slot.picture);
  if (missing) {
    say(working, lack(), "problem");
    missing.find(missing.stream ? ".take" : "input").focus();
    return;
  }
  const fields = Object.fromEntries(slots.map((slot) => [slot.name, slot.picture]));
  const answer = await (await send(form.action, fields, { "X-Part": "result" })).text();
  say(working, "");
  if (slots.some((slot) => slot.picture !== fields[slot.name])) return; // it is about pictures that are gone
  show(answer);
  document.getElementById("verdict").focus({ preventScroll: true });
  result.scrollIntoView({ block: "start" });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (submit.ariaDisabled === "true") return;
  submit.ariaDisabled = "true";
  say(working, "Comparing …", "busy");
  try {
    await compare();
  } catch (error) {
    const slot = slots[error.picture];
    say(working, slot ? "" : error.message, slot ? "" : "problem");
    if (slot) say(slot.status, error.message, "problem");
  } finally {
    submit.ariaDisabled = "false";
  }
});

addEventListener("pagehide", () => slots.forEach((slot) => slot.stop()));
